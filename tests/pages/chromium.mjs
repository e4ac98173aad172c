// Shared by the other scripts: the packages in .pages/, the browser, and the views of a page.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// Node does not search .pages/ by default.
export const require = createRequire(new URL('../../.pages/', import.meta.url));

// The last is an A4 page at 96 pixels per inch.
const sizes = [
  { media: 'screen', width: 1280, height: 900 },
  { media: 'screen', width: 400, height: 800 },
  { media: 'print', width: 794, height: 1123 },
];
export const views = ['light', 'dark'].flatMap((scheme) => sizes.map((size) => ({ scheme, ...size })));

export const usage = (text) => {
  console.error(`usage: ${text}`);
  process.exit(2);
};

const executable = () => {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    for (const folder of process.env.PATH.split(':')) {
      if (fs.existsSync(path.join(folder, name))) return path.join(folder, name);
    }
  }
  throw new Error('no chromium, chromium-browser or google-chrome on the PATH');
};

// A browser with a fresh profile that sends no requests of its own. Playwright starts it without a sandbox, so that it
// runs as root; the pages are ours.
export const launch = () =>
  require('playwright-core').chromium.launch({
    executablePath: executable(),
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });

// Opens a blank page with the settings of a view.
export const look = async (browser, { scheme, media, width, height }) => {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme });
  await page.emulateMedia({ media, colorScheme: scheme });
  return page;
};

export const address = (file) => pathToFileURL(path.resolve(file)).href;
