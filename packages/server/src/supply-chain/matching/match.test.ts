import { describe, expect, it } from 'vitest';
import type { Advisory, AffectedPackage } from '../advisories/model.ts';
import type { Component } from '../inventory/model.ts';
import { match, type Statement } from './match.ts';

const component = (more: Partial<Component> = {}): Component => ({
  ...{ type: 'deb', name: 'libssl3', version: '3.0.9-1', source: { name: 'openssl', version: '3.0.9-1' }, licences: [], foundBy: 'dpkg' },
  ...more,
});
const statement = (advisory: Partial<Advisory>, affected: Partial<AffectedPackage> = {}, source = 'osv'): Statement => ({
  source,
  advisory: {
    id: 'DSA-1-1',
    aliases: [],
    upstream: [],
    summary: '',
    details: '',
    severity: 'unknown',
    cwes: [],
    references: [],
    ...advisory,
  },
  affected: {
    ...{
      type: 'deb',
      distribution: 'debian:12',
      name: 'openssl',
      versions: [],
      ranges: [[{ introduced: '0' }, { fixed: '3.0.11-1' }]],
      state: 'affected',
    },
    ...affected,
  },
});
const of = (one: Component, ...statements: Statement[]) => match(one, 'debian:12', statements);

describe('a component is held against advisories', () => {
  it('by its source package and that version, in the release of its image only', () => {
    expect(of(component(), statement({ upstream: ['CVE-2024-1'] }))).toMatchObject([
      { vulnerability: 'CVE-2024-1', state: 'affected', fixed: '3.0.11-1' },
    ]);
    expect(of(component({ source: { name: 'openssl', version: '3.0.11-1' } }), statement({ upstream: ['CVE-2024-1'] }))).toEqual([]);
    expect(of(component(), statement({ upstream: ['CVE-2024-1'] }, { distribution: 'debian:11' }))).toEqual([]);
    expect(of(component(), statement({ upstream: ['CVE-2024-1'] }, { name: 'libssl3' }))).toEqual([]);
  });
  it('each vulnerability of a notice for itself', () => {
    const found = of(component(), statement({ upstream: ['CVE-2024-2', 'CVE-2024-1'] }));
    expect(found.map(({ vulnerability, aliases }) => [vulnerability, aliases])).toEqual([
      ['CVE-2024-1', []],
      ['CVE-2024-2', []],
    ]);
  });
  it('and finds one thing once, whoever tells of it by whatever name', () => {
    const npm = { type: 'npm', distribution: '', name: 'x', ranges: [[{ introduced: '0' }, { fixed: '1.2.0' }]] } as const;
    const one = component({ type: 'npm', name: 'x', version: '1.0.0' });
    const { source: _, ...bare } = one;
    const statements = [
      statement({ id: 'GHSA-a', aliases: ['CVE-2024-1'], severity: 'high' }, npm, 'ghsa'),
      statement({ id: 'NSWG-7', severity: 'low' }, npm, 'nswg'),
      statement({ id: 'CVE-2024-1', aliases: ['NSWG-7'] }, { ...npm, ranges: [[{ introduced: '0' }, { fixed: '1.3.0' }]] }, 'osv'),
    ];
    for (const order of [statements, statements.toReversed()]) {
      const found = match(bare, '', order);
      expect(found).toMatchObject([{ vulnerability: 'CVE-2024-1', aliases: ['GHSA-a', 'NSWG-7'], fixed: '1.3.0', severity: 'high' }]);
      expect(found[0]?.advisories.map(({ source }) => source).sort()).toEqual(['ghsa', 'nswg', 'osv']);
    }
  });
  it('where they were withdrawn not at all', () => {
    expect(of(component(), statement({ upstream: ['CVE-2024-1'], withdrawn: 1 }))).toEqual([]);
  });
  it('and what a distribution says was never affected is not, whoever counts versions', () => {
    const never = statement({ id: 'CVE-2024-1' }, { state: 'not-affected', ranges: [] }, 'tracker');
    expect(of(component(), statement({ upstream: ['CVE-2024-1', 'CVE-2024-2'] }), never)).toMatchObject([{ vulnerability: 'CVE-2024-2' }]);
  });
  it('with the severity of the distribution before any other', () => {
    const graded = statement({ id: 'CVE-2024-1', severity: 'critical' }, { severity: 'low' }, 'tracker');
    expect(of(component(), statement({ upstream: ['CVE-2024-1'], severity: 'high' }), graded)).toMatchObject([{ severity: 'low' }]);
  });
  it('and tells what will not be mended from what is not yet', () => {
    const open = [[{ introduced: '0' }]];
    expect(of(component(), statement({ id: 'CVE-2024-1' }, { ranges: open, state: 'wont-fix' }))).toMatchObject([
      { state: 'wont-fix', fixed: undefined },
    ]);
    expect(of(component(), statement({ id: 'CVE-2024-1' }, { ranges: open, state: 'under-investigation' }))).toMatchObject([
      { state: 'under-investigation' },
    ]);
    const both = [statement({ id: 'CVE-2024-1' }, { ranges: open, state: 'wont-fix' }), statement({ upstream: ['CVE-2024-1'] })];
    expect(of(component(), ...both)).toMatchObject([{ state: 'affected', fixed: '3.0.11-1' }]);
  });
  it('and says so where a version cannot be compared', () => {
    expect(of(component({ source: { name: 'openssl', version: 'a:b' } }), statement({ upstream: ['CVE-2024-1'] }))).toMatchObject([
      { state: 'unknown', fixed: undefined },
    ]);
  });
  it('of a module stream by those of module streams only', () => {
    const rpm = (modularity: string | undefined): Component => ({
      ...{ type: 'rpm', name: 'nodejs', version: '1:16.1-1.module_el8.6.0', licences: [], foundBy: 'rpm' },
      ...(modularity === undefined ? {} : { modularity }),
    });
    const modular = statement(
      { upstream: ['CVE-2024-1'] },
      { type: 'rpm', name: 'nodejs', ranges: [[{ introduced: '0' }, { fixed: '1:16.9-1.module_el8.9.0' }]] },
    );
    const base = statement(
      { upstream: ['CVE-2024-2'] },
      { type: 'rpm', name: 'nodejs', ranges: [[{ introduced: '0' }, { fixed: '1:18.0-1.el8' }]] },
    );
    expect(of(rpm('nodejs:16'), modular, base).map((one) => one.vulnerability)).toEqual(['CVE-2024-1']);
    expect(of(rpm(undefined), modular, base).map((one) => one.vulnerability)).toEqual(['CVE-2024-2']);
  });
  it('but headers of the kernel not by what is wrong in it', () => {
    const kernel = statement({ upstream: ['CVE-2024-1'] }, { name: 'linux', ranges: [[{ introduced: '0' }]] });
    const source = { name: 'linux', version: '6.1.1-1' };
    expect(of(component({ name: 'linux-libc-dev', source }), kernel)).toEqual([]);
    expect(of(component({ name: 'linux-image-6.1.0-amd64', source }), kernel)).toHaveLength(1);
  });
});
