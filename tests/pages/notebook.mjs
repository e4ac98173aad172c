// Takes the picture of a notebook's cells for the README.
//
//   node tests/pages/notebook.mjs FILE.html OUT.png
import { address, launch, usage } from './chromium.mjs';

// As wide as the longest line of a test's table, then scaled down to fit the README.
const width = 1180;
const deviceScaleFactor = 0.9;

const [file, out] = process.argv.slice(2);
if (!out) usage('node notebook.mjs FILE.html OUT.png');
const browser = await launch();
const page = await browser.newPage({ viewport: { width, height: 300 }, deviceScaleFactor, colorScheme: 'light' });
await page.goto(address(file), { waitUntil: 'domcontentloaded' });
await page.screenshot({ path: out, fullPage: true });
await browser.close();
