import { type Compare, compareDigits } from './order.ts';

interface DebianVersion {
  readonly epoch: string;
  readonly upstream: string;
  readonly revision: string;
}

/** deb-version(7): `[epoch:]upstream[-revision]`. */
function parse(text: string): DebianVersion | undefined {
  const trimmed = text.trim();
  const colon = trimmed.indexOf(':');
  const epoch = colon < 0 ? '0' : trimmed.slice(0, colon);
  const rest = trimmed.slice(colon + 1);
  const hyphen = rest.lastIndexOf('-');
  const upstream = hyphen < 0 ? rest : rest.slice(0, hyphen);
  const revision = hyphen < 0 ? '' : rest.slice(hyphen + 1);
  const isVersion = /^[0-9]+$/.test(epoch) && /^[A-Za-z0-9.+~:-]+$/.test(upstream) && /^[A-Za-z0-9.+~]*$/.test(revision);
  return isVersion && (hyphen < 0 || revision !== '') ? { epoch, upstream, revision } : undefined;
}

/** `~` before the end, the end before letters, letters before all else; a digit ends the text, as the end does. */
function weight(code: number): number {
  if (Number.isNaN(code) || isDigit(code)) return 0;
  if (code === 0x7e) return -1;
  const isLetter = (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
  return isLetter ? code : code + 256;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Text and numbers by turns, as long as there is some of either. */
function compareParts(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    while ((i < a.length && !isDigit(a.charCodeAt(i))) || (j < b.length && !isDigit(b.charCodeAt(j)))) {
      const order = weight(a.charCodeAt(i)) - weight(b.charCodeAt(j));
      if (order !== 0) return order;
      i++;
      j++;
    }
    const [from, to] = [i, j];
    while (isDigit(a.charCodeAt(i))) i++;
    while (isDigit(b.charCodeAt(j))) j++;
    const order = compareDigits(a.slice(from, i), b.slice(to, j));
    if (order !== 0) return order;
  }
  return 0;
}

/** Order of versions of Debian packages, as dpkg has it. */
export const compareDebian: Compare = (a, b) => {
  const [one, two] = [parse(a), parse(b)];
  if (!one || !two) return undefined;
  return compareDigits(one.epoch, two.epoch) || compareParts(one.upstream, two.upstream) || compareParts(one.revision, two.revision);
};
