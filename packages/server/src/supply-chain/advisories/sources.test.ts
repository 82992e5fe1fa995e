import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { advisoriesFromSecdb } from './alpine-secdb.ts';
import { advisoriesFromDebianTracker } from './debian-tracker.ts';
import { ecosystemOf } from './ecosystems.ts';
import { exploitedFromKev, probabilityFromEpss } from './enrichment.ts';
import { AdvisoryError, advisoryFromOsv } from './osv.ts';
import { cvssScore, severityOfScore, severityOfWord } from './severity.ts';

const record = (more: object = {}, of: object = {}) => ({
  id: 'GHSA-aaaa-bbbb-cccc',
  modified: '2025-04-30T21:07:20Z',
  aliases: ['CVE-2025-1'],
  summary: 'Something',
  affected: [
    { package: { ecosystem: 'npm', name: 'x' }, ranges: [{ type: 'SEMVER', events: [{ introduced: '0' }, { fixed: '1.2.3' }] }], ...of },
  ],
  ...more,
});

describe('a record of OSV', () => {
  it('becomes an advisory', () => {
    expect(
      advisoryFromOsv(
        record({
          database_specific: { severity: 'MODERATE', cwe_ids: ['CWE-79'] },
          references: [{ url: 'https://a.example' }, { url: 'javascript:x' }],
        }),
      ),
    ).toEqual({
      id: 'GHSA-aaaa-bbbb-cccc',
      aliases: ['CVE-2025-1'],
      upstream: [],
      summary: 'Something',
      details: '',
      modified: Date.UTC(2025, 3, 30, 21, 7, 20),
      severity: 'medium',
      cwes: ['CWE-79'],
      references: ['https://a.example'],
      affected: [
        { type: 'npm', distribution: '', name: 'x', versions: [], ranges: [[{ introduced: '0' }, { fixed: '1.2.3' }]], state: 'affected' },
      ],
    });
  });
  it('has the severity of its vector where no word says it, of the newest CVSS', () => {
    const severity = [
      { type: 'CVSS_V3', score: 'CVSS:3.1/AV:N/AC:H/PR:L/UI:N/S:U/C:N/I:L/A:N' },
      { type: 'CVSS_V4', score: 'CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N' },
    ];
    expect(advisoryFromOsv(record({ severity }))).toMatchObject({ severity: 'critical', cvss: severity[1]?.score });
    expect(advisoryFromOsv(record({ severity: severity.slice(0, 1) }))).toMatchObject({ severity: 'low' });
    expect(advisoryFromOsv(record({ severity: [{ type: 'CVSS_V3', score: 'CVSS:3.1/AV:N' }] }))).toMatchObject({ severity: 'unknown' });
  });
  it('takes the vulnerabilities that a notice mends from where its distribution names them', () => {
    const of = (ecosystem: string) => ({ package: { ecosystem, name: 'openssl' } });
    expect(advisoryFromOsv(record({ aliases: undefined, upstream: ['CVE-2025-2'] }, of('Debian:12')))?.upstream).toEqual(['CVE-2025-2']);
    expect(advisoryFromOsv(record({ aliases: undefined, related: ['CVE-2025-3', 'ALSA-1'] }, of('AlmaLinux:9')))?.upstream).toEqual([
      'CVE-2025-3',
    ]);
    expect(advisoryFromOsv(record({ aliases: undefined, related: ['CVE-2025-3'] }))?.upstream).toEqual([]);
  });
  it('of the RHEL family says its severity in its summary', () => {
    const of = { package: { ecosystem: 'AlmaLinux:9', name: 'openssl' } };
    expect(advisoryFromOsv(record({ related: ['CVE-2025-1'], summary: 'Important: openssl security update' }, of))?.severity).toBe('high');
    expect(advisoryFromOsv(record({ summary: 'Important: not of npm' }))?.severity).toBe('unknown');
  });
  it('is left out where it is about nothing that can be met', () => {
    expect(
      advisoryFromOsv(record({ aliases: [], related: [] }, { package: { ecosystem: 'AlmaLinux:9', name: 'qatzip' } })),
    ).toBeUndefined();
    expect(advisoryFromOsv(record({}, { package: { ecosystem: 'Linux', name: 'Kernel' } }))).toBeUndefined();
    expect(advisoryFromOsv(record({}, { ranges: [{ type: 'GIT', events: [{ introduced: 'abc' }] }] }))).toBeUndefined();
    expect(
      advisoryFromOsv(record({}, { package: { ecosystem: 'crates.io', name: 'x' }, database_specific: { informational: 'unmaintained' } })),
    ).toBeUndefined();
  });
  it('keeps that it was withdrawn, and does not believe in the year 1', () => {
    expect(advisoryFromOsv(record({ withdrawn: '2021-01-01T00:00:00Z', published: '0001-01-01T00:00:00Z' }))).toMatchObject({
      withdrawn: Date.UTC(2021, 0, 1),
    });
    expect(advisoryFromOsv(record({ published: '0001-01-01T00:00:00Z' }))).not.toHaveProperty('published');
  });
  it('names packages as their ecosystem compares them', () => {
    expect(advisoryFromOsv(record({}, { package: { ecosystem: 'PyPI', name: 'Zope.Interface_x' } }))?.affected[0]?.name).toBe(
      'zope-interface-x',
    );
    expect(advisoryFromOsv(record({}, { package: { ecosystem: 'NuGet', name: 'Newtonsoft.Json' } }))?.affected[0]?.name).toBe(
      'newtonsoft.json',
    );
  });
  it('is refused where it is none or without measure', () => {
    for (const bad of [null, [], 'x', {}, { id: 7 }, { id: '../x y' }]) expect(() => advisoryFromOsv(bad)).toThrow(AdvisoryError);
    expect(() => advisoryFromOsv(record({ affected: Array.from({ length: 5001 }, () => ({})) }))).toThrow(AdvisoryError);
    expect(() => advisoryFromOsv(record({}, { versions: Array.from({ length: 20_001 }, () => '1') }))).toThrow(AdvisoryError);
  });
  it('never breaks the reader, whatever is in it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (affected, severity, specific) => {
        advisoryFromOsv({ ...record(), affected, severity, database_specific: specific });
        advisoryFromOsv(record({}, { ranges: affected, versions: severity, ecosystem_specific: specific }));
      }),
    );
  });
});

describe('an ecosystem of OSV', () => {
  it.each([
    ['Debian:12', 'deb', 'debian:12'],
    ['Ubuntu:22.04:LTS', 'deb', 'ubuntu:22.04'],
    ['Alpine:v3.20', 'apk', 'alpine:3.20'],
    ['Alpine:edge', 'apk', 'alpine:edge'],
    ['Wolfi', 'apk', 'wolfi:rolling'],
    ['AlmaLinux:9', 'rpm', 'almalinux:9'],
    ['Rocky Linux:9', 'rpm', 'rocky:9'],
    ['Red Hat:enterprise_linux:9::baseos', 'rpm', 'rhel:9'],
    ['SUSE:Linux Enterprise Server 15 SP5', 'rpm', 'sles:15.5'],
    ['openSUSE:Leap 15.6', 'rpm', 'opensuse-leap:15.6'],
    ['crates.io', 'cargo', ''],
  ])('%s is known', (osv, type, distribution) => {
    expect(ecosystemOf(osv)).toEqual({ type, distribution });
  });
  it.each(['Linux', 'Android', 'Debian', 'Ubuntu:Pro:18.04:LTS', 'SUSE:Manager 4', '__proto__', 'constructor'])(
    '%s is none of ours',
    (osv) => {
      expect(ecosystemOf(osv)).toBeUndefined();
    },
  );
});

describe('severity', () => {
  it.each([
    ['CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H', 10],
    ['CVSS:3.0/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H', 8.1],
    ['AV:N/AC:L/Au:N/C:P/I:P/A:P', 7.5],
    ['CVSS:3.1/AV:X/xx', undefined],
    ['', undefined],
  ])('of %j is %s', (vector, score) => expect(cvssScore(vector)).toBe(score));
  it('has words for scores and takes those of others', () => {
    expect([9, 8.9, 4, 0.1, 0].map(severityOfScore)).toEqual(['critical', 'high', 'medium', 'low', 'negligible']);
    expect(['Important', 'low**', 'unimportant', 'MODERATE', 'not yet assigned', 'end-of-life', 'constructor'].map(severityOfWord)).toEqual(
      [...['high', 'low', 'negligible', 'medium', 'unknown', 'unknown', 'unknown']],
    );
  });
});

describe("Alpine's security database", () => {
  const packages = [
    {
      pkg: {
        name: 'ansible',
        secfixes: { '2.8.4-r0': ['CVE-2019-10206 GHSA-aaaa-bbbb-cccc', 'CVE-2019-10217 (+ regression)'], '0': ['CVE-2018-1'] },
      },
    },
    { pkg: { name: 'xen', secfixes: { '4.12.1-r0': ['XSA-300 CVE-2019-10206'] } } },
  ];
  it('says by vulnerability which version mends it', () => {
    const found = new Map(advisoriesFromSecdb({ packages }, 'alpine:3.10').map((advisory) => [advisory.id, advisory.affected]));
    expect([...found.keys()].sort()).toEqual(['CVE-2018-1', 'CVE-2019-10206', 'CVE-2019-10217', 'GHSA-aaaa-bbbb-cccc', 'XSA-300']);
    expect(found.get('CVE-2019-10206')?.map(({ name }) => name)).toEqual(['ansible', 'xen']);
    expect(found.get('CVE-2019-10217')).toEqual([
      {
        type: 'apk',
        distribution: 'alpine:3.10',
        name: 'ansible',
        versions: [],
        ranges: [[{ introduced: '0' }, { fixed: '2.8.4-r0' }]],
        state: 'affected',
      },
    ]);
    expect(found.get('CVE-2018-1')).toMatchObject([{ state: 'not-affected', ranges: [] }]);
  });
  it('is refused where it is none', () => expect(() => advisoriesFromSecdb({ packages: 1 }, 'alpine:3.10')).toThrow(TypeError));
});

describe("Debian's security tracker", () => {
  const of = (release: object) => {
    const [advisory] = [...advisoriesFromDebianTracker({ curl: { 'CVE-2024-1': { description: 'x', releases: { bookworm: release } } } })];
    return advisory?.affected[0];
  };
  it('knows how a release stands', () => {
    expect(of({ status: 'resolved', fixed_version: '7.88.1-10', urgency: 'not yet assigned' })).toEqual({
      ...{
        type: 'deb',
        distribution: 'debian:12',
        name: 'curl',
        versions: [],
        ranges: [[{ introduced: '0' }, { fixed: '7.88.1-10' }]],
        state: 'affected',
      },
    });
    expect(of({ status: 'resolved', fixed_version: '0' })).toMatchObject({ state: 'not-affected', ranges: [] });
    expect(of({ status: 'open', urgency: 'low**' })).toMatchObject({ state: 'affected', ranges: [[{ introduced: '0' }]], severity: 'low' });
    expect(of({ status: 'open', nodsa: 'Minor issue', nodsa_reason: 'ignored' })).toMatchObject({ state: 'wont-fix' });
    expect(of({ status: 'open', nodsa: 'Minor issue', nodsa_reason: 'postponed' })).toMatchObject({ state: 'affected' });
    expect(of({ status: 'open', urgency: 'unimportant' })).toMatchObject({ state: 'wont-fix', severity: 'negligible' });
    expect(of({ status: 'undetermined' })).toMatchObject({ state: 'under-investigation' });
  });
  it('is refused where it is none', () => expect(() => [...advisoriesFromDebianTracker([])]).toThrow(TypeError));
});

describe('what is exploited', () => {
  it('is read from the catalogue and the daily scores', () => {
    const entries = [{ cveID: 'CVE-2025-48384', dateAdded: '2025-08-25', knownRansomwareCampaignUse: 'Known' }, { cveID: 'x' }, null];
    expect(exploitedFromKev({ vulnerabilities: entries })).toEqual([{ cve: 'CVE-2025-48384', added: '2025-08-25', ransomware: true }]);
    expect(() => exploitedFromKev({})).toThrow(TypeError);
    const lines = [
      '#model_version:v2025.03.14,score_date:2025-08-25T00:00:00+0000',
      'cve,epss,percentile',
      'CVE-2025-1234,0.00043,0.09',
      '',
    ];
    expect(lines.map(probabilityFromEpss)).toEqual([
      undefined,
      undefined,
      { cve: 'CVE-2025-1234', probability: 0.00043, percentile: 0.09 },
      undefined,
    ]);
    for (const bad of ['CVE-2025-1234,2,0.1', 'CVE-2025-1234', 'x,0.1,0.1']) expect(() => probabilityFromEpss(bad)).toThrow(TypeError);
  });
});
