import type { Component } from './model.ts';

const LONGEST = 512;
const MOST_LICENCES = 64;
const LONGEST_LICENCE = 1024;
const MOST_SYMBOLS = 50_000;

/** What two descriptions of one component have in common. */
export function keyOf({ type, name, version, arch = '', source, modularity = '' }: Component): string {
  return [type, name, version, arch, source?.name ?? '', source?.version ?? '', modularity].join('\0');
}

/** A component as it may be kept: undefined where a name or version is missing, too long, or no text of one line. */
export function presentable(component: Component): Component | undefined {
  const { type, name, version, arch, source, modularity, licences, symbols, foundBy } = component;
  const texts = [name, version, arch ?? '', source?.name ?? '', source?.version ?? '', modularity ?? ''];
  if (name === '' || version === '' || texts.some((text) => text.length > LONGEST || !isOneLine(text))) return undefined;
  return {
    ...{ type, name, version },
    ...(arch === undefined ? {} : { arch }),
    ...(source === undefined || (source.name === name && source.version === version) ? {} : { source }),
    ...(modularity === undefined ? {} : { modularity }),
    licences: licences.filter((text) => text !== '' && text.length <= LONGEST_LICENCE && isOneLine(text)).slice(0, MOST_LICENCES),
    ...(symbols === undefined
      ? {}
      : { symbols: symbols.filter((text) => text.length <= LONGEST && isOneLine(text)).slice(0, MOST_SYMBOLS) }),
    foundBy,
  };
}

function isOneLine(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code < 0x20 || code === 0x7f) return false;
  }
  return true;
}

/** Each component once, in the order of their first. */
export function distinct(components: readonly Component[]): Component[] {
  return [...new Map(components.toReversed().map((component) => [keyOf(component), component])).values()].toReversed();
}
