import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ComponentType } from '../inventory/model.ts';
import { judge, type RangeEvent } from './ranges.ts';
import { orderOf } from './schemes.ts';

/** Each line from the oldest to the newest; what stands in one place by `=` is equal. */
const ORDERS: Partial<Record<ComponentType, readonly string[]>> = {
  deb: [
    '0~~ 0~~a 0~ 0 0a1 0+b 0.1',
    '1.0~beta1~svn1245 1.0~beta1 1.0 1.0-1~deb11u1 1.0-1 1.0-1+b1 1.0-1+deb12u1 1.0-1.1 1.0+dfsg1 1.0.1 1:0.5',
    '2.36-9+deb12u9 2.36-9+deb12u10 2.41-1',
    '1.0=0:1.0 1.0-0ubuntu1 1.0-01 1.0-2 1.00-3',
    '7.6-0 7.6p2-4',
    '1.1.1n-0+deb11u3 1.1.1w-0~deb11u1 3.0.9-1',
  ],
  apk: [
    '1.0_alpha 1.0_alpha2 1.0_beta 1.0_pre1 1.0_rc1 1.0_rc2_p1 1.0 1.0_cvs1 1.0_svn 1.0_git20230101 1.0_hg 1.0_p1 1.0_p1-r1 1.0a 1.0.1',
    '1.2.3-r0 1.2.3-r1 1.2.3-r10 1.2.4-r0 1.2.10-r0',
    '1.1.01 1.1.02 1.1.1 1.1.2 1.2.0',
    '3.1.4 3.1.4-r5 3.1.4~abc 3.1.5_alpha 3.1.5',
    '2.9.9 2.10',
  ],
  rpm: [
    '1.0~rc1 1.0~rc1^20200101 1.0 1.0^20200101 1.0.1',
    '1.0-1.el9 1.0-1.el9_2 1.0-2.el9 1.0-10.el9 1:0.1-1',
    '0:2.3-1=2.3-1 2.3-1.1',
    '5.14.0-427.13.1.el9_4 5.14.0-427.16.1.el9_4 5.14.0-503.el9',
    '1.0a 1.0.1 10 10.0001=10.1 10.10001',
    '8.0.1763-19.el8_6.4 8.0.1763-22.el8',
  ],
  alpm: ['1.0a 1.0alpha 1.0b 1.0beta 1.0p1 1.0pre1 1.0rc 1.0 1.0.a 1.0.1', '1.5-1=1.5 1.5.1-1 1:1.0-1', '6.1.r3-1 6.1.1-1'],
  npm: ['1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.10.0 2.0.0', 'v1.2.3=1.2.3+build'],
  golang: [
    'v0.0.0-20190101000000-aaaaaaaaaaaa v0.0.0-20200101000000-bbbbbbbbbbbb v0.1.0-0.20210101000000-cccccccccccc v0.1.0',
    'go1.20 go1.20.1 go1.21rc2 go1.21.0=1.21 go1.21.9 go1.22rc1',
    'v2.0.0+incompatible=2.0.0 v2.0.1',
  ],
  pypi: ['1.0.dev1 1.0a1.dev1 1.0a1 1.0b2 1.0rc1=1.0c1 1.0=1.0.0 1.0+abc 1.0+5 1.0.post1.dev1 1.0.post1 1.1 1!0.5'],
  maven: [
    '1-alpha2snapshot 1-alpha2 1-alpha-123 1-beta-2 1-beta123 1-m2 1-m11 1-rc 1-cr2 1-rc123 1-snapshot 1=1.ga=1-final=1.0=1.0.0-release 1-sp 1-sp2 1-abc 1-1-snapshot 1-1 1-2',
    '2.0 2.0.a 2-1 2.0.2 2.0.123 2.1.0 2.1-a 2.1b 2.1-c 2.1-1 2.1.0.1 2.2 2.123 11.a2 11.a11 11.b2 11.b11 11.m2 11.m11 11 11.a 11b 11c 11m',
    '9.0.0.M1 9.0.0 9.0.1',
    '1.0.constructor 1.0.toString',
    '2.12.0 2.12.0-jre 2.13.0-android 2.13.0-jre',
  ],
  gem: ['1.0.a 1.0.b1 1.0=1.0.0 1.0.1.pre 1.0.1 1.10', '1.13.9=1.13.9-x86_64-linux 1.13.10-java'],
  composer: [
    '1.0.0-dev 1.0.0-alpha1 1.0.0-beta1 1.0.0-beta.2 1.0.0-RC1 1.0.0=v1.0=1.0.0.0 1.0.0-pl1 1.0.1',
    '2.0.x-dev 2.1.0',
    '2010-01-02 2010.01.02.3 2010-01-03',
  ],
  cargo: ['0.1.0-alpha 0.1.0 0.1.1 0.2.0 1.0.0'],
  nuget: ['1.0.0-alpha 1.0.0-ALPHA.1=1.0.0-alpha.1 1.0.0-beta 1.0.0=1.0=1.0.0.0=1.0.0+build 1.0.0.1 1.0.1 1.0.10'],
};

const CASES = Object.entries(ORDERS).flatMap(([type, lines]) => lines.map((line) => ({ type: type as ComponentType, line })));

describe('versions', () => {
  it.each(CASES)('of $type are in order: $line', ({ type, line }) => {
    const compare = orderOf(type);
    const places = line.split(' ').flatMap((group, place) => group.split('=').map((version) => ({ version, place })));
    for (const a of places) {
      for (const b of places)
        expect(Math.sign(compare(a.version, b.version) ?? Number.NaN), `${a.version} against ${b.version}`).toBe(
          Math.sign(a.place - b.place),
        );
    }
  });

  it.each<[ComponentType, string]>([
    ['deb', 'a:1.0'],
    ['deb', '1.0-'],
    ['deb', ''],
    ['apk', 'x1'],
    ['rpm', ''],
    ['npm', 'latest'],
    ['golang', '(devel)'],
    ['pypi', '2004-01-02'],
    ['gem', 'x.y'],
    ['composer', 'dev-main'],
    ['nuget', '1.2.3.4.5'],
    ['npm', `1.0.0-${'9'.repeat(1000)}`],
  ])('of %s have no order where one is none: %j', (type, text) => {
    expect(orderOf(type)(text, '1.0')).toBeUndefined();
    expect(orderOf(type)('1.0', text)).toBeUndefined();
  });

  const token = fc.constantFrom('1', '0', '2', '10', '01', '.', '-', '~', '^', '+', '_', 'a', 'rc', 'p', 'alpha', 'pre', 'Z', '-r1', ':');
  const text = fc.array(token, { minLength: 1, maxLength: 7 }).map((tokens) => `1${tokens.join('')}`);
  it.each(Object.keys(ORDERS) as ComponentType[])('of %s have one order, whatever they are', (type) => {
    const compare = orderOf(type);
    const sign = (a: string, b: string) => Math.sign(compare(a, b) ?? Number.NaN);
    fc.assert(
      fc.property(text, text, text, (a, b, c) => {
        if (compare(a, b) === undefined || compare(b, c) === undefined) return;
        expect(sign(a, a)).toBe(0);
        expect(sign(a, b)).toBe(0 - sign(b, a));
        // Maven's and pacman's orders are not transitive for texts nobody uses as versions.
        if (type !== 'maven' && type !== 'alpm' && type !== 'composer' && sign(a, b) >= 0 && sign(b, c) >= 0)
          expect(sign(a, c)).toBe(Math.max(sign(a, b), sign(b, c)));
      }),
      { numRuns: 2000 },
    );
  });

  it('are compared in a time that grows with their length', () => {
    const long = `1${'.1'.repeat(20_000)}`;
    for (const type of Object.keys(ORDERS) as ComponentType[]) expect([0, undefined]).toContain(orderOf(type)(long, long));
  });
});

describe('a range of versions', () => {
  const of = (version: string, events: readonly RangeEvent[], type: ComponentType = 'npm') =>
    judge(version, { ranges: [events] }, orderOf(type));
  const affected = (fixed?: string) => ({ state: 'affected', fixed });
  const unaffected = { state: 'unaffected' };

  it('is affected from its beginning to its fix', () => {
    const events = [{ introduced: '1.0.0' }, { fixed: '1.2.0' }];
    expect(of('0.9.0', events)).toEqual(unaffected);
    expect(of('1.0.0', events)).toEqual(affected('1.2.0'));
    expect(of('1.1.9', events)).toEqual(affected('1.2.0'));
    expect(of('1.2.0', events)).toEqual(unaffected);
  });
  it('may have several turns, in any order of the record', () => {
    const events = [{ fixed: '2.3.0' }, { introduced: '0' }, { fixed: '1.2.0' }, { introduced: '2.0.0' }];
    expect(of('0.0.0-a', events)).toEqual(affected('1.2.0'));
    expect(of('1.5.0', events)).toEqual(unaffected);
    expect(of('2.1.0', events)).toEqual(affected('2.3.0'));
    expect(of('3.0.0', events)).toEqual(unaffected);
  });
  it('begins anew at the version of a fix', () => {
    expect(of('1.2.0', [{ introduced: '0' }, { fixed: '1.2.0' }, { introduced: '1.2.0' }])).toEqual(affected());
  });
  it('has no fix where the last affected version is named', () => {
    const events = [{ introduced: '0' }, { last_affected: '1.2.0' }];
    expect(of('1.2.0', events)).toEqual(affected());
    expect(of('1.2.1', events)).toEqual(unaffected);
  });
  it('begins before everything at 0', () => {
    expect(of('0~~rc1', [{ introduced: '0' }, { fixed: '1' }], 'deb')).toEqual(affected('1'));
  });
  it('ends at its limit', () => {
    const events = [{ introduced: '1.0.0' }, { limit: '2.0.0' }];
    expect(of('1.9.9', events)).toEqual(affected());
    expect(of('2.0.0', events)).toEqual(unaffected);
  });
  it('says nothing of what cannot be compared', () => {
    expect(of('master', [{ introduced: '0' }, { fixed: '1.0.0' }])).toEqual({ state: 'unknown' });
    expect(of('1.0.0', [{ introduced: '0' }, { fixed: 'soon' }])).toEqual({ state: 'unknown' });
  });
  it('is joined by an enumeration', () => {
    const compare = orderOf('pypi');
    const versions = ['1.0', '1.1'];
    expect(judge('1.0.0', { versions }, compare)).toEqual(affected());
    expect(judge('1.2', { versions }, compare)).toEqual(unaffected);
    expect(judge('custom', { versions: ['custom'] }, compare)).toEqual(affected());
    expect(judge('1.5', { versions, ranges: [[{ introduced: '1.4' }, { fixed: '1.6' }]] }, compare)).toEqual(affected('1.6'));
  });
  it('agrees with what a walk through all versions says', () => {
    const version = fc.integer({ min: 0, max: 30 }).map((n) => `1.${n}.0`);
    const turns = fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { maxLength: 8 }).map((list) => list.sort((a, b) => a - b));
    fc.assert(
      fc.property(version, turns, (at, list) => {
        const events = list.map((n, i) => (i % 2 === 0 ? { introduced: `1.${n}.0` } : { fixed: `1.${n}.0` }));
        const n = Number(at.split('.')[1]);
        const passed = list.filter((turn) => turn <= n).length;
        expect(of(at, events).state).toBe(passed % 2 === 1 ? 'affected' : 'unaffected');
      }),
    );
  });
});
