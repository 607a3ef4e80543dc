/** Whether the page is being put on paper: then it is light, and tables are whole. */

import { signal } from '@preact/signals';

export const printing = signal(false);

addEventListener('beforeprint', () => {
  printing.value = true;
});
addEventListener('afterprint', () => {
  printing.value = false;
});
