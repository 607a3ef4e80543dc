/** Where the page begins. */

import { render } from 'preact';
import { guardAgainstLoss } from './clip/clips';
import { listenPanel } from './listen/panel';
import { fetchCatalogue } from './service/offered';
import { watchHealth } from './service/state';
import { App } from './ui/App';

render(<App />, document.body);
guardAgainstLoss(() => listenPanel.running.value);
void watchHealth();
// Asked for ahead of the first file; who needs it and has not got it asks again, and tells what is wrong.
void fetchCatalogue().catch(() => undefined);
