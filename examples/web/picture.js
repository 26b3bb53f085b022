// picture.js: the two pictures, of the state and of the decay of its channels. Their colours are
// those of the page's style.

// Channels of each layer in the order of their decay, the fastest first.
function sortedByDecay(decay, layers, channels) {
  const order = [];
  for (let l = 0; l < layers; l++) {
    const of = decay.subarray(l * channels, (l + 1) * channels);
    order.push(Uint32Array.from(of.keys()).sort((i, j) => of[i] - of[j]));
  }
  return order;
}

// A canvas's context, as many pixels as the screen has there, and its size in those of CSS.
function prepare(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const sharp = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * sharp));
  canvas.height = Math.max(1, Math.round(height * sharp));
  const context = canvas.getContext('2d');
  context.scale(sharp, sharp);
  return { context, width, height };
}

const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colourOf = (name) => styleOf(name).split(' ').map(Number);

// The colour of each layer: from violet to yellow by way of green, of a contrast for text (4.5) with
// the page. On white all but blue and violet must be dark for that.
function layerColour(l, layers) {
  const dark = window.matchMedia('(prefers-color-scheme: dark)').matches;
  const hue = 270 - 225 * (layers > 1 ? l / (layers - 1) : 0);
  return dark ? `hsl(${hue} 75% 72%)` : `hsl(${hue} 75% ${hue > 210 ? 45 : 27}%)`;
}

// memory: (layers, channels). Each layer has its own scale: full colour at 2.5 times the root mean
// square of the row.
function drawState(canvas, { memory, order, layers, channels }) {
  const { context, width, height } = prepare(canvas);
  const [low, zero, high] = ['--low', '--zero', '--high'].map(colourOf);
  const image = new ImageData(channels, layers);
  for (let l = 0; l < layers; l++) {
    let square = 0;
    for (let i = 0; i < channels; i++) square += memory[l * channels + i] ** 2;
    const full = 2.5 * Math.sqrt(square / channels) || 1;
    for (let i = 0; i < channels; i++) {
      const value = Math.max(-1, Math.min(1, memory[l * channels + order[l][i]] / full)) || 0;
      const end = value < 0 ? low : high;
      for (let c = 0; c < 3; c++) {
        image.data[(l * channels + i) * 4 + c] = zero[c] + (end[c] - zero[c]) * Math.abs(value);
      }
      image.data[(l * channels + i) * 4 + 3] = 255;
    }
  }
  const small = document.createElement('canvas');
  small.width = channels;
  small.height = layers;
  small.getContext('2d').putImageData(image, 0, 0);
  context.imageSmoothingEnabled = channels > canvas.width;
  for (let l = 0; l < layers; l++) { // a gap between rows, if there is room for one
    const row = height / layers;
    context.drawImage(small, 0, l, channels, 1, 0, l * row, width, row > 6 ? row - 2 : row);
  }
}

function drawDecay(canvas, { decay, order, layers, channels }) {
  const { context, width, height } = prepare(canvas);
  const [left, top, right, bottom] = [34, 8, width - 62, height - 20];
  const x = (i) => left + (right - left) * (channels > 1 ? i / (channels - 1) : 0);
  const y = (kept) => bottom - (bottom - top) * kept;
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  context.lineWidth = 1;
  context.strokeStyle = styleOf('--line');
  for (const kept of [0, 0.25, 0.5, 0.75, 1]) {
    context.beginPath();
    context.moveTo(left, y(kept));
    context.lineTo(right, y(kept));
    context.stroke();
    context.fillStyle = styleOf('--pale');
    context.fillText(String(kept), left - 6, y(kept));
  }
  context.textBaseline = 'alphabetic';
  context.fillText(`channel ${channels}`, right, height - 4);
  context.textAlign = 'left';
  context.fillText('1', left, height - 4);
  context.lineWidth = 2;
  context.lineJoin = 'round';
  for (let l = 0; l < layers; l++) {
    context.strokeStyle = layerColour(l, layers);
    context.beginPath();
    for (let i = 0; i < channels; i++) context.lineTo(x(i), y(decay[l * channels + order[l][i]]));
    context.stroke();
  }
  // The legend: every layer, or as many as there is room for.
  const step = Math.ceil(layers / Math.floor((bottom - top) / 16));
  context.textBaseline = 'middle';
  for (let l = 0, line = 0; l < layers; l += step, line++) {
    context.fillStyle = layerColour(l, layers);
    context.fillText(`layer ${l + 1}`, right + 10, top + 8 + line * 16);
  }
}
