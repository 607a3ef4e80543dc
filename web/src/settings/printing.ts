/** Whether the page is being put on paper: then it is light, and tables are whole. */

import { signal } from '@preact/signals';

const onPaper = matchMedia('print');

export const printing = signal(onPaper.matches);

// Some browsers tell of the medium's change only once it is painted, others know no such events.
onPaper.addEventListener('change', () => {
  printing.value = onPaper.matches;
});
addEventListener('beforeprint', () => {
  printing.value = true;
});
addEventListener('afterprint', () => {
  printing.value = false;
});
