import type { Cataloguer, Found } from '../cataloguer.ts';
import { licencesOf } from '../licences.ts';
import { malformed } from '../limits.ts';
import type { Component } from '../model.ts';
import { linesOf } from './lines.ts';

const DATABASES = new Set(['lib/apk/db/installed', 'usr/lib/apk/db/installed']);
const MOST = 64 * 2 ** 20;

/** Packages of Alpine, Wolfi and Chainguard (apk's database of installed packages, version 2). */
export const apk: Cataloguer = {
  name: 'apk',
  ofSystem: true,
  claims: (path) => DATABASES.has(path),
  wants: () => ({ most: MOST }),
  read({ bytes }): Found {
    const components: Component[] = [];
    const owned: string[] = [];
    let fields = new Map<string, string>();
    let folder = '';
    let problem: string | undefined;
    const finish = () => {
      const component = packageOf(fields);
      if (component) components.push(component);
      else if (fields.size > 0) problem = 'an installed package has no name or no version';
      fields = new Map();
      folder = '';
    };
    for (const line of linesOf(bytes)) {
      if (line === '') {
        finish();
        continue;
      }
      if (line[1] !== ':') throw malformed('a line of the package database is no field');
      const [key = '', value] = [line[0], line.slice(2)];
      if (key === 'F') folder = value;
      else if (key === 'R') owned.push(`${folder}/${value}`);
      else if ('PVAoL'.includes(key)) {
        if (fields.has(key)) throw malformed(`a package has the field ${key} twice`);
        fields.set(key, value);
      }
    }
    finish();
    return { evidence: [{ components }], owned, ...(problem === undefined ? {} : { problem }) };
  },
};

function packageOf(fields: ReadonlyMap<string, string>): Component | undefined {
  const [name, version, arch, origin] = ['P', 'V', 'A', 'o'].map((key) => fields.get(key));
  if (name === undefined || version === undefined) return undefined;
  return {
    ...{ type: 'apk', name, version },
    ...(arch === undefined ? {} : { arch }),
    ...(origin === undefined || origin === '' ? {} : { source: { name: origin, version } }),
    licences: licencesOf([fields.get('L') ?? '']),
    foundBy: 'apk',
  };
}
