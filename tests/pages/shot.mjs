// Takes pictures of a whole page in every view, PREFIX-SCHEME-MEDIA-WIDTH.png, and prints it to PREFIX.pdf.
//
//   node tests/pages/shot.mjs FILE.html PREFIX
import { address, launch, look, usage, views } from './chromium.mjs';

const [file, prefix] = process.argv.slice(2);
if (!prefix) usage('node shot.mjs FILE.html PREFIX');
const browser = await launch();
for (const view of views) {
  const page = await look(browser, view);
  await page.goto(address(file));
  await page.screenshot({ path: `${prefix}-${view.scheme}-${view.media}-${view.width}.png`, fullPage: true });
  if (view === views.at(-1)) await page.pdf({ path: `${prefix}.pdf`, format: 'A4' });
  await page.close();
}
await browser.close();
