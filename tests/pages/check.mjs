// Opens pages in Chromium, light and dark, wide, narrow and on paper, and reports their problems.
//
//   node tests/pages/check.mjs FILE.html...
//
// Prints a line of JSON for each file: {"file", "bytes", "problems"}. A problem is a sentence that ends with the
// views that have it. The exit code is 0 whether or not there are problems.
import fs from 'node:fs';
import { address, launch, look, require, usage, views } from './chromium.mjs';
import { inspect } from './inspect.mjs';

const axe = require('axe-core');

// Returns the problems of a page in one view.
const problemsIn = async (browser, file, view) => {
  const problems = [];
  const page = await look(browser, view);
  const own = address(file);
  page.on('console', (message) => problems.push(`console ${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => problems.push(`console: uncaught ${error.message}`));
  page.on('websocket', (socket) => problems.push(`request to ${socket.url()}`));
  page.on('request', (request) => {
    const url = request.url();
    if (url !== own && !url.startsWith('data:')) problems.push(`request to ${url}`);
  });
  await page.goto(own);
  // A page's content security policy does not apply to code evaluated from outside.
  await page.evaluate(axe.source);
  problems.push(...(await page.evaluate(inspect, view.media)));
  await page.close();
  return problems;
};

const files = process.argv.slice(2);
if (!files.length) usage('node check.mjs FILE.html...');
const browser = await launch();
for (const file of files) {
  const seen = new Map();
  for (const view of views) {
    for (const problem of new Set(await problemsIn(browser, file, view))) {
      if (!seen.has(problem)) seen.set(problem, []);
      seen.get(problem).push(`${view.scheme} ${view.media === 'print' ? 'print ' : ''}${view.width}`);
    }
  }
  const problems = [...seen].map(([problem, where]) => `${problem} (${where.join(', ')})`);
  console.log(JSON.stringify({ file, bytes: fs.statSync(file).size, problems }));
}
await browser.close();
