import type { Cataloguer } from '../cataloguer.ts';
import { apk } from './apk.ts';
import { dpkg } from './dpkg.ts';
import { osRelease } from './os-release.ts';

/** All that is known of how things are installed. A new kind is a file beside and a line here. */
export const CATALOGUERS: readonly Cataloguer[] = [osRelease, dpkg, apk];
