import type { ComponentType } from '../inventory/model.ts';
import { compareAlpine } from './alpine.ts';
import { compareComposer } from './composer.ts';
import { compareDebian } from './debian.ts';
import { compareGem, compareGo, comparePypi, compareSemver } from './libraries.ts';
import { compareMaven } from './maven.ts';
import { compareNuget } from './nuget.ts';
import type { Compare } from './order.ts';
import { comparePacman } from './pacman.ts';
import { compareRpm } from './rpm.ts';

const BY_TYPE: Readonly<Record<ComponentType, Compare>> = {
  deb: compareDebian,
  apk: compareAlpine,
  rpm: compareRpm,
  alpm: comparePacman,
  npm: compareSemver,
  pypi: comparePypi,
  golang: compareGo,
  maven: compareMaven,
  gem: compareGem,
  composer: compareComposer,
  cargo: compareSemver,
  nuget: compareNuget,
  conda: comparePypi,
  binary: compareSemver,
};

/** How versions of a kind of packages are ordered. */
export function orderOf(type: ComponentType): Compare {
  return BY_TYPE[type];
}
