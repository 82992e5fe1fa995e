import { describe, expect, it } from 'vitest';
import { mergeLayers } from '../merge.ts';
import type { Component, LayerInventory } from '../model.ts';
import { inventoryOfEntries, type TestEntry, testPackages } from '../testing-layers.ts';
import { CATALOGUERS } from './index.ts';

const file = (path: string, content: string): TestEntry => ({ path, content });
const of = (...entries: TestEntry[]) => inventoryOfEntries(entries, { cataloguers: [...CATALOGUERS, testPackages] });
const text = ({ name, version, arch = '-', source }: Component) =>
  `${name} ${version} ${arch} ${source ? `${source.name} ${source.version}` : '-'}`;
const told = (inventory: LayerInventory) => inventory.evidence.map(({ path, components }) => [path, ...components.map(text)]);

describe('packages of dpkg', () => {
  const status = `Package: libc6
Essential: yes
Status: install ok installed
Priority: optional
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u14
Depends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10~)
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab
Description: GNU C Library: Shared libraries
 Version: 9.9.9
 .
 Contains the standard libraries.

Package: perl-base
Status: install ok installed
Architecture: amd64
Source: perl (5.36.0-7+deb12u3)
Version: 5.36.0-7+deb12u3+b1

Package: adduser
Status: hold ok installed
Architecture: all
Version: 3.134

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: broken
Status: install reinstreq half-installed
Architecture: amd64
Version: 1.0

Package: unpacked
Status: install ok unpacked
Architecture: i386
Version: 2:1.0

Package: never
Status: unknown ok not-installed
`;

  it('are those whose files are there, with what they were built from', async () => {
    expect(told(await of(file('var/lib/dpkg/status', status)))).toEqual([
      [
        'var/lib/dpkg/status',
        'libc6 2.36-9+deb12u14 amd64 glibc 2.36-9+deb12u14',
        'perl-base 5.36.0-7+deb12u3+b1 amd64 perl 5.36.0-7+deb12u3',
        'adduser 3.134 all -',
        'unpacked 2:1.0 i386 -',
      ],
    ]);
    const windows = await of(file('./var/lib/dpkg/status', status.replaceAll('\n', '\r\n')));
    expect(told(windows)[0]).toHaveLength(5);
  });

  it('are found in a file each, as images without a package manager have them', async () => {
    const inventory = await of(
      file('var/lib/dpkg/status.d/base', 'Package: base-files\nVersion: 12.4+deb12u15\nArchitecture: amd64\nMaintainer: x\n'),
      file('var/lib/dpkg/status.d/base.md5sums', 'd41d8cd98f00b204e9800998ecf8427e  usr/lib/a.pkg\n'),
      file('usr/lib/a.pkg', 'owned 1'),
      file('usr/lib/b.pkg', 'free 1'),
    );
    expect(mergeLayers([inventory]).image.components.map(text)).toEqual(['base-files 12.4+deb12u15 amd64 -', 'free 1 - -']);
  });

  it('own their files, also where their lists name them by a linked folder', async () => {
    const inventory = await of(
      { path: 'lib', type: '2', link: 'usr/lib' },
      file('var/lib/dpkg/status', status),
      file('var/lib/dpkg/info/libc6:amd64.list', '/.\n/lib\n/lib/a.pkg\n/usr/share/doc\n'),
      file('usr/lib/a.pkg', 'owned 1'),
    );
    expect(inventory.owned).toEqual([{ by: 'var/lib/dpkg/info/libc6:amd64.list', paths: ['lib/a.pkg'] }]);
    expect(mergeLayers([inventory]).image.components.map(({ name }) => name)).not.toContain('owned');
  });

  it('have the licences that their copyright files name, whatever layer these are of', async () => {
    const copyright = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Files: *
License: GPL-2+ or Artistic
Files: lib/*
License: Expat and BSD-3-clause
License: LGPL-2.1 with linking exception
 text of it
License: ISC
`;
    const base = await of(
      file('var/lib/dpkg/status', status),
      file('usr/share/doc/libc6/copyright', copyright),
      file('usr/share/doc/adduser/copyright', 'It is free.'),
    );
    const licences = (...layers: LayerInventory[]) =>
      mergeLayers(layers)
        .image.components.map(({ name, licences: found }) => [name, ...found])
        .filter(([, ...found]) => found.length > 0);
    const known = ['libc6', 'Artistic-1.0', 'BSD-3-Clause', 'GPL-2.0-or-later', 'ISC', 'LicenseRef-LGPL-2.1-with-linking-exception', 'MIT'];
    expect(licences(base)).toEqual([known]);
    expect(licences(base, await of(file('usr/share/doc/libc6/.wh.copyright', '')))).toEqual([]);
    const bare = await of(file('usr/share/doc/perl-base/copyright', copyright));
    expect(licences(base, bare).map(([name]) => name)).toEqual(['libc6', 'perl-base']);
  });

  it('E7 make the inventory incomplete where they cannot be understood, and are found all the same', async () => {
    const odd = await of(file('var/lib/dpkg/status', 'Package: a\nStatus: install ok installed\n\nPackage: b\nVersion: 1\n'));
    expect(odd).toMatchObject({ incomplete: { reason: 'malformed' }, evidence: [{ components: [{ name: 'b' }] }] });
    for (const content of ['no fields at all\n', 'Package: a\nPackage: b\nVersion: 1\n', '\0\0\0\0'])
      expect((await of(file('var/lib/dpkg/status', content))).incomplete).toMatchObject({ reason: 'malformed' });
    expect(await of(file('var/lib/dpkg/status', ''))).toMatchObject({ evidence: [] });
  });
});

describe('packages of apk', () => {
  const installed = `C:Q1v4QhLje3kWlC8DJj+ZfJTjlJRSU=
P:alpine-baselayout-data
V:3.2.0-r22
A:x86_64
L:GPL-2.0-only
o:alpine-baselayout
F:etc
R:fstab
Z:Q11Q7hNe8QpDS531guqCdrXBzoA/o=
F:usr/lib/node_modules
R:a.pkg
a:0:0:755

P:musl
V:1.2.3-r0
A:x86_64
L:MIT AND BSD-2-Clause
o:musl
R:root.pkg

P:old
V:1
L:GPL2+ and others
`;

  it.each(['lib/apk/db/installed', 'usr/lib/apk/db/installed'])('are those of %s, with origin and licence', async (path) => {
    const inventory = await of(file(path, installed), file('usr/lib/node_modules/a.pkg', 'owned 1'));
    expect(told(inventory)).toEqual(
      [
        [path, 'alpine-baselayout-data 3.2.0-r22 x86_64 alpine-baselayout 3.2.0-r22', 'musl 1.2.3-r0 x86_64 -', 'old 1 - -'],
        ['usr/lib/node_modules/a.pkg', 'owned 1 - -'],
      ].sort(),
    );
    expect(inventory.evidence.find((each) => each.path === path)?.components.map(({ licences }) => licences)).toEqual([
      ['GPL-2.0-only'],
      ['MIT AND BSD-2-Clause'],
      ['LicenseRef-GPL2-and-others'],
    ]);
    expect(inventory.owned).toEqual([{ by: path, paths: ['root.pkg', 'usr/lib/node_modules/a.pkg'] }]);
    expect(mergeLayers([inventory]).image.components.map(({ name }) => name)).not.toContain('owned');
  });

  it('E7 make the inventory incomplete where they cannot be understood', async () => {
    const odd = await of(file('lib/apk/db/installed', 'P:invalid\n\nP:busybox\nV:1.24.2-r9\n'));
    expect(odd).toMatchObject({ incomplete: { reason: 'malformed' }, evidence: [{ components: [{ name: 'busybox' }] }] });
    for (const content of ['what is this\n', 'P:a\nP:b\nV:1\n'])
      expect((await of(file('lib/apk/db/installed', content))).incomplete).toMatchObject({ reason: 'malformed' });
  });
});

describe('the operating system', () => {
  const release = async (...entries: TestEntry[]) => mergeLayers([await of(...entries)]).image.osRelease;

  it.each<[string, string, string, object]>([
    [
      'of Debian',
      'usr/lib/os-release',
      'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n',
      { id: 'debian', versionId: '12', codename: 'bookworm', prettyName: 'Debian GNU/Linux 12 (bookworm)', idLike: [] },
    ],
    [
      'of Rocky, which is like others',
      'etc/os-release',
      'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.3"\nSUPPORT_END=2032-05-31\n',
      { id: 'rocky', versionId: '9.3', idLike: ['rhel', 'centos', 'fedora'], prettyName: 'rocky', supportEnd: '2032-05-31' },
    ],
    [
      'written as shells allow it',
      'etc/os-release',
      '# ID=comment\n\nID=\'Alpine\'\nVERSION_ID=3.20.1 # no\nPRETTY_NAME="A \\"quoted\\" \\$name \\\\ here" rest\nexport X=1\n',
      { id: 'alpine', versionId: '3.20.1', idLike: [], prettyName: 'A "quoted" $name \\ here' },
    ],
    ['of old Alpine', 'etc/alpine-release', '3.4.6\n', { id: 'alpine', versionId: '3.4.6', idLike: [], prettyName: 'Alpine Linux 3.4.6' }],
    ['of old Debian', 'etc/debian_version', '7.11\n', { id: 'debian', versionId: '7', idLike: [], prettyName: 'Debian GNU/Linux 7' }],
    [
      'of old CentOS',
      'etc/redhat-release',
      'CentOS release 6.10 (Final)\n',
      { id: 'centos', versionId: '6.10', idLike: [], prettyName: 'CentOS release 6.10 (Final)' },
    ],
  ])('is read %s', async (_, path, content, expected) => {
    expect(await release(file(path, content))).toEqual(expected);
  });

  it('is that of the file which counts most, whatever layer it is of', async () => {
    const lower = await of(file('etc/os-release', 'ID=debian\nVERSION_ID=12\n'), file('etc/debian_version', '12.5\n'));
    const upper = await of(file('usr/lib/os-release', 'ID=wolfi\n'));
    expect(mergeLayers([lower, upper]).image.osRelease).toMatchObject({ id: 'debian' });
    expect(mergeLayers([lower, upper, await of(file('etc/.wh.os-release', ''))]).image.osRelease).toMatchObject({ id: 'wolfi' });
    expect(await release(file('opt/os-release', 'ID=x\n'))).toBeUndefined();
  });

  it.each(['', 'ID=\n', 'ID=$(id)\n', 'ID="un closed\n', 'constructor', '\0\0'])(
    'is unknown where the file says nothing: %j',
    async (content) => {
      expect(await release(file('etc/os-release', content))).toBeUndefined();
      expect((await of(file('constructor', content), file('__proto__', content))).osReleases).toEqual([]);
    },
  );
});
