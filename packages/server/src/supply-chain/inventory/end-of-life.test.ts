import { describe, expect, it } from 'vitest';
import { releaseKeyOf, supportOf } from './end-of-life.ts';
import type { OsRelease } from './model.ts';

const os = (id: string, versionId: string, more: Partial<OsRelease> = {}): OsRelease => ({
  id,
  versionId,
  idLike: [],
  prettyName: id,
  ...more,
});
const AT = Date.UTC(2026, 10, 25);

describe('support of a release', () => {
  it.each<[OsRelease, string, string | undefined]>([
    [os('debian', '13'), 'supported', '2028-08-09'],
    [os('debian', '12'), 'extended', '2026-07-11'],
    [os('debian', '10'), 'ended', '2022-09-10'],
    [os('debian', ''), 'rolling', undefined],
    [os('ubuntu', '24.04'), 'supported', '2029-05-31'],
    [os('ubuntu', '20.04'), 'ended', '2025-05-31'],
    [os('alpine', '3.23.1'), 'supported', '2027-11-01'],
    [os('alpine', '3.18.12'), 'ended', '2025-05-09'],
    [os('alpine', '3.21.0_alpha20240923'), 'rolling', undefined],
    [os('rhel', '9.4'), 'supported', '2032-05-31'],
    [os('centos', '8', { prettyName: 'CentOS Linux 8' }), 'ended', '2021-12-31'],
    [os('centos', '9', { prettyName: 'CentOS Stream 9' }), 'supported', '2027-05-31'],
    [os('rocky', '8.10'), 'supported', '2029-05-31'],
    [os('ol', '7.9'), 'ended', '2024-12-31'],
    [os('amzn', '2023'), 'supported', '2029-06-30'],
    [os('amzn', '2'), 'ended', '2026-06-30'],
    [os('sles', '15.7'), 'supported', '2031-07-31'],
    [os('opensuse-tumbleweed', '20260101'), 'rolling', undefined],
    [os('wolfi', '20230201'), 'rolling', undefined],
    [os('debian', '99'), 'unknown', undefined],
    [os('nobody', '1'), 'unknown', undefined],
    [os('nobody', '1', { supportEnd: '2026-01-01' }), 'ended', '2026-01-01'],
    [os('constructor', 'name'), 'unknown', undefined],
    [os('debian', 'constructor'), 'unknown', undefined],
  ])('%j is %s', (release, state, end) => {
    expect(supportOf(release, AT)).toMatchObject({ state, ...(end === undefined ? {} : { end }) });
  });

  it('lasts to the end of its last day, then by volunteers', () => {
    const at = (date: string) => supportOf(os('debian', '12'), Date.parse(date)).state;
    expect(['2026-07-11T23:59:59Z', '2026-07-12T00:00:00Z', '2028-06-30T00:00:00Z', '2028-07-01T00:00:00Z'].map(at)).toEqual([
      'supported',
      'extended',
      'extended',
      'ended',
    ]);
    expect(supportOf(os('ubuntu', '20.04'), AT)).toEqual({ state: 'ended', end: '2025-05-31', paidUntil: '2030-04-02' });
  });

  it('is of what changes between releases, not within one', () => {
    expect(releaseKeyOf(os('alpine', '3.20.3'))).toEqual({ distribution: 'alpine', release: '3.20' });
    expect(releaseKeyOf(os('rhel', '9.4'))).toEqual({ distribution: 'rhel', release: '9' });
    expect(releaseKeyOf(os('ubuntu', '22.04'))).toEqual({ distribution: 'ubuntu', release: '22.04' });
  });
});
