// Takes the picture of a run's page for the README: from the top to the end of the first confusion matrix.
//
//   node tests/pages/picture.mjs FILE.html OUT.png
import { address, launch, usage } from './chromium.mjs';

// Wide enough for two charts side by side, then scaled down to fit the README.
const width = 1100;
const deviceScaleFactor = 0.6;
const below = 24;

const [file, out] = process.argv.slice(2);
if (!out) usage('node picture.mjs FILE.html OUT.png');
const browser = await launch();
const page = await browser.newPage({ viewport: { width, height: 900 }, deviceScaleFactor, colorScheme: 'light' });
await page.goto(address(file));
const { y, height } = await page.locator('table.matrix').first().boundingBox();
await page.screenshot({ path: out, fullPage: true, clip: { x: 0, y: 0, width, height: Math.ceil(y + height) + below } });
await browser.close();
