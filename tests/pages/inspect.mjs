// Runs inside the page, so from outside this function it can use only `axe`.
export const inspect = async (media) => {
  const problems = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const short = (text) => {
    const words = text.replace(/\s+/g, ' ').trim();
    return words.length > 60 ? `${words.slice(0, 60)}…` : words;
  };
  const name = (element) => {
    const classes = [...element.classList].map((one) => `.${one}`).join('');
    const tag = `<${element.tagName.toLowerCase()}${element.id && `#${element.id}`}${classes}>`;
    return element.textContent.trim() ? `${tag} "${short(element.textContent)}"` : tag;
  };
  // Collapsed content is checked too.
  for (const details of all('details')) details.open = true;

  // --- width

  const width = document.scrollingElement.clientWidth;
  // True if the element scrolls or clips: then its content does not widen the page.
  const scrolls = (element) => getComputedStyle(element).overflowX !== 'visible';
  const inScroller = (element) => {
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
      if (scrolls(up)) return true;
    }
    return false;
  };
  const edge = (element) => element.getBoundingClientRect().right;
  if (document.scrollingElement.scrollWidth > width) {
    const beyond = all('body *').filter((element) => edge(element) > width + 0.5 && !inScroller(element));
    // A parent that only grows with its child is not the cause.
    const causes = beyond.filter((element) => ![...element.children].some((child) => edge(child) >= edge(element)));
    const widest = causes.sort((a, b) => edge(b) - edge(a)).slice(0, 5);
    const named = widest.map((element) => `${name(element)} to ${Math.round(edge(element))}`).join(', ');
    const by = named || 'no element';
    problems.push(`overflow: ${document.scrollingElement.scrollWidth} pixels wide, by ${by}`);
  }
  if (media === 'print') {
    for (const element of all('body *').filter((one) => scrolls(one) && one.scrollWidth > one.clientWidth + 1)) {
      if (element.clientWidth) problems.push(`overflow: paper does not scroll, and cuts ${name(element)} off`);
    }
  }
  const visible = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const texts = all('svg text, svg text tspan').filter((text) => {
    const own = [...text.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    const { width, height } = text.getBoundingClientRect();
    return own && width && height && visible(text) && !text.closest('defs, symbol');
  });
  for (const text of texts) {
    const svg = text.closest('svg');
    const [inner, outer] = [text.getBoundingClientRect(), svg.getBoundingClientRect()];
    const within =
      inner.left > outer.left - 1 && inner.right < outer.right + 1 &&
      inner.top > outer.top - 1 && inner.bottom < outer.bottom + 1;
    if (!within && scrolls(svg)) problems.push(`overflow: its <svg> cuts ${name(text)} off`);
  }

  // --- pictures

  for (const image of all('img')) {
    const what = short(image.getAttribute('src') ?? '');
    if (!image.alt.trim()) problems.push(`picture without alternative text: <img> ${what}`);
    if (image.complete && !image.naturalWidth) problems.push(`picture that does not show: <img> ${what}`);
  }
  for (const svg of all('svg')) {
    if (svg.closest('[aria-hidden="true"]') || svg.parentElement.closest('svg')) continue;
    const label = svg.getAttribute('aria-labelledby');
    const title = svg.querySelector(':scope > title') ?? (label && document.getElementById(label.split(' ')[0]));
    if (svg.getAttribute('role') !== 'img' || !(svg.getAttribute('aria-label') ?? title?.textContent ?? '').trim())
      problems.push(`picture without alternative text: ${name(svg)} needs role="img" and a label, or aria-hidden`);
  }

  // --- contrast where axe does not check it (text in SVG) or cannot decide

  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const known = new Map();
  // Parses any CSS colour into red, green and blue from 0 to 255 and alpha from 0 to 1.
  const parse = (colour) => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = ([r, g, b, a], back) => [r, g, b].map((value, i) => value * a + back[i] * (1 - a));
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const opacity = (element) => {
    let product = 1;
    for (let up = element; up; up = up.parentElement) product *= getComputedStyle(up).opacity;
    return product;
  };
  const fill = (element) => {
    const style = getComputedStyle(element);
    if (style.fill === 'none' || style.fill.startsWith('url(')) return null;
    const [r, g, b, a] = parse(style.fill);
    return [r, g, b, a * parseFloat(style.fillOpacity) * opacity(element)];
  };
  const probe = document.body.appendChild(document.createElement('div'));
  probe.style.backgroundColor = 'Canvas';
  const paper = parse(getComputedStyle(probe).backgroundColor).slice(0, 3);
  probe.remove();
  const background = (element) => {
    const layers = [];
    for (let up = element; up; up = up.parentElement) layers.push(parse(getComputedStyle(up).backgroundColor));
    return layers.reduceRight((back, layer) => over(layer, back), paper);
  };
  const say = (element, ratio, size) => {
    const least = size >= 24 ? 3 : 4.5;
    if (ratio < least) problems.push(`contrast of ${name(element)} is ${ratio.toFixed(2)}, less than ${least}`);
  };

  const shapes = new Map();
  // Returns the filled shapes of an <svg> in painting order.
  const shapesOf = (svg) => {
    if (!shapes.has(svg)) {
      const filled = [...svg.querySelectorAll('rect, circle, ellipse, path, polygon')]
        .filter((shape) => visible(shape) && !shape.closest('defs, symbol, clipPath, mask, marker, pattern'))
        .map((shape) => ({ shape, colour: fill(shape), box: shape.getBoundingClientRect() }));
      shapes.set(svg, filled.filter(({ colour }) => colour?.[3]));
    }
    return shapes.get(svg);
  };
  const covers = ({ shape, box }, x, y) =>
    x >= box.left && x <= box.right && y >= box.top && y <= box.bottom &&
    shape.isPointInFill(new DOMPoint(x, y).matrixTransform(shape.getScreenCTM().inverse()));
  for (const text of texts) {
    const svg = text.closest('svg');
    const colour = fill(text);
    if (!colour) {
      problems.push(`contrast of ${name(text)} can't be told: its fill is ${getComputedStyle(text).fill}`);
      continue;
    }
    const below = shapesOf(svg).filter(
      ({ shape }) => shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING);
    const box = text.getBoundingClientRect();
    const ratios = [0.05, 0.5, 0.95].map((part) => {
      const [x, y] = [box.left + box.width * part, box.top + box.height / 2];
      const back = below
        .filter((one) => covers(one, x, y))
        .reduce((under, one) => over(one.colour, under), background(svg));
      return contrast(over(colour, back), back);
    });
    const matrix = text.getScreenCTM();
    const scale = Math.sqrt(Math.abs(matrix.a * matrix.d - matrix.b * matrix.c));
    say(text, Math.min(...ratios), parseFloat(getComputedStyle(text).fontSize) * scale);
  }

  // --- axe

  const { violations, incomplete } = await axe.run({
    runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa'] },
    resultTypes: ['violations', 'incomplete'],
    preload: false,
  });
  for (const { id, help, nodes } of violations) {
    for (const node of nodes) {
      const data = node.any[0]?.data;
      const ratio = data?.contrastRatio ? `, contrast ${data.contrastRatio}` : '';
      problems.push(`axe ${id}: ${help}: ${short(node.html)}${ratio}`);
    }
  }
  for (const node of incomplete.filter(({ id }) => id === 'color-contrast').flatMap(({ nodes }) => nodes)) {
    const why = node.any[0]?.data?.messageKey;
    const element = document.querySelector(node.target[0]);
    // Checked above.
    if (element.closest('svg')) continue;
    if (['bgImage', 'bgGradient', 'imgNode'].includes(why)) {
      problems.push(`contrast of ${name(element)} can't be told: it is on a picture or gradient`);
    } else {
      const [r, g, b, a] = parse(getComputedStyle(element).color);
      const back = background(element);
      const ratio = contrast(over([r, g, b, a * opacity(element)], back), back);
      say(element, ratio, parseFloat(getComputedStyle(element).fontSize));
    }
  }
  return problems;
};
