// Takes pictures of a page for the README, OUT.png light and OUT-dark.png dark: of the whole page, or down to the end of
// the first element that the CSS selector LAST finds.
//
//   node tests/pages/picture.mjs FILE.html OUT.png [LAST]
import { address, launch, usage } from './chromium.mjs';

// Wide enough for two charts side by side, then scaled down to fit the README.
const width = 1100;
const deviceScaleFactor = 0.6;
const below = 6;

const [file, out, last] = process.argv.slice(2);
if (!out) usage('node picture.mjs FILE.html OUT.png [LAST]');
const browser = await launch();
for (const [colorScheme, path] of [['light', out], ['dark', out.replace(/\.png$/, '-dark.png')]]) {
  const page = await browser.newPage({ viewport: { width, height: 900 }, deviceScaleFactor, colorScheme });
  await page.goto(address(file));
  const { y, height } = await page.locator(last ?? 'footer').first().boundingBox();
  await page.screenshot({ path, fullPage: true, clip: { x: 0, y: 0, width, height: Math.ceil(y + height) + below } });
  await page.close();
}
await browser.close();
