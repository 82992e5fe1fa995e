import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '@entrepot/oci';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { accessMigrations } from '../../access/index.ts';
import { catalogMigrations, findBlob, findManifest, findRepository, findTag } from '../../catalog/index.ts';
import { sqliteData } from '../../platform/database/testing.ts';
import { auditMigrations, type Database, jobMigrations, outboxMigrations, type Session, systemClock } from '../../platform/index.ts';
import { type AdoptionReport, adoptStorage } from './adopt.ts';
import { openFileTree } from './file-tree.ts';
import type { FindingKind } from './findings.ts';
import { blobPath, currentPath, layersPath, linkPath, REPOSITORIES, revisionsPath, tagsPath } from './layout.ts';
import { isAfter } from './names.ts';
import { findingsOf } from './runs.ts';
import { adoptionMigrations } from './schema.ts';
import { stateOf } from './testing-state.ts';
import { fill, TestStorage } from './testing-storage.ts';

const store = () =>
  sqliteData([...catalogMigrations, ...accessMigrations, ...auditMigrations, ...outboxMigrations, ...jobMigrations, ...adoptionMigrations]);
const cleanups: (() => void | Promise<void>)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups) await cleanup();
});

function newStorage(): TestStorage {
  const root = mkdtempSync(join(tmpdir(), 'entrepot-storage-'));
  cleanups.push(() => rmSync(root, { recursive: true, force: true }));
  return new TestStorage(root);
}

async function newDatabase(): Promise<Database> {
  const data = store();
  cleanups.push(() => data.remove());
  return await data.open();
}

interface Wishes {
  readonly verify?: boolean;
  readonly update?: boolean;
  readonly sparse?: boolean;
}

function run(
  database: Database,
  storage: TestStorage,
  { verify = false, update = false, sparse = false }: Wishes = {},
): Promise<AdoptionReport> {
  return adoptStorage({
    ...{ database, clock: systemClock, tree: openFileTree(storage.root), verify, update, public: false },
    config: { sparseImages: sparse, sparseIndexes: sparse, manifestMaxBytes: 100_000 },
    actor: { kind: 'command-line', id: null, name: 'operator', credential: null },
    lease: { who: 'somebody', isAlone: true },
    onProgress: () => undefined,
  });
}

async function findings(database: Session, { run: id, findings: counts }: AdoptionReport): Promise<string[]> {
  const all: string[] = [];
  for (const kind of Object.keys(counts)) {
    for await (const { repository, subject } of findingsOf(database, id, kind as FindingKind)) all.push(`${kind} ${repository} ${subject}`);
  }
  return all;
}

describe('adoption', () => {
  it('takes manifests in the order in which they were pushed, what an index needs before it, and history with its times', async () => {
    const database = await newDatabase();
    const storage = newStorage();
    const times = [5, 3, 4, 1, 2].map((second) => second * 1_000_000);
    const images = times.map((at) => storage.image('demo/app', `content of ${at}`, { at }));
    const index = storage.index('demo/app', images.slice(0, 1), 500_000);
    const outer = storage.index('demo/app', [index], 400_000);
    storage.tag('demo/app', 'moved', images[0] ?? '', images[1] ?? '', outer);
    const report = await run(database, storage);
    expect(report).toMatchObject({ damage: 0, counts: { repositories: 1, manifests: 7, tags: 1, moves: 2 } });
    const repository = await findRepository(database, 'demo/app');
    const ids = new Map<string, number>();
    for (const digest of [...images, index, outer]) ids.set(digest, (await findManifest(database, repository?.id ?? 0, digest))?.id ?? 0);
    const byId = [...ids].sort((a, b) => a[1] - b[1]).map(([digest]) => digest);
    expect(byId).toEqual([images[0], index, outer, images[3], images[4], images[1], images[2]]);
    expect(await findTag(database, repository?.id ?? 0, 'moved')).toBe(outer);
    const { history } = (await stateOf(database)) as { history: { digest: string; changed_at: number }[] };
    expect(history.map((move) => [move.digest, move.changed_at])).toEqual([
      [images[0], 2_000_000],
      [images[1], 2_001_000],
      [outer, 2_002_000],
    ]);
  });

  const damaged: [string, (storage: TestStorage) => string[], Wishes?][] = [
    [
      'bytes of a manifest that are others',
      (s) => {
        const digest = s.image('demo/app', 'x');
        s.file(blobPath(digest), '{}');
        s.tag('demo/app', 'v1', digest);
        return [`digest-mismatch demo/app ${digest}`, 'dangling-tag demo/app v1'];
      },
    ],
    [
      'a manifest that is gone',
      (s) => {
        const digest = s.image('demo/app', 'x');
        s.remove(blobPath(digest));
        return [`missing-manifest demo/app ${digest}`];
      },
    ],
    [
      'a layer that is gone',
      (s) => {
        const digest = s.image('demo/app', 'x');
        s.remove(blobPath(digestOf('x')));
        return [`incomplete-manifest demo/app ${digest}`];
      },
    ],
    [
      'a layer that was cut off',
      (s) => {
        const digest = s.image('demo/app', 'text');
        s.file(blobPath(digestOf('text')), 'tex');
        return [`incomplete-manifest demo/app ${digest}`];
      },
    ],
    [
      'a layer with other bytes, found by hashing',
      (s) => {
        const digest = s.image('demo/app', 'text');
        s.file(blobPath(digestOf('text')), 'tixt');
        return [`digest-mismatch  ${digestOf('text')}`, `incomplete-manifest demo/app ${digest}`];
      },
      { verify: true },
    ],
    [
      'a layer that the repository does not have, though another does',
      (s) => {
        const digest = s.image('demo/app', 'x');
        s.remove(`${layersPath('demo/app')}/${linkPath(digestOf('x'))}`);
        s.layer('demo/other', 'x');
        return [`incomplete-manifest demo/app ${digest}`];
      },
    ],
    [
      'a layer whose bytes are a link to another file',
      (s) => {
        const digest = s.image('demo/app', 'x');
        s.remove(blobPath(digestOf('x')));
        symlinkSync('/etc/hostname', join(s.root, blobPath(digestOf('x'))));
        return [`incomplete-manifest demo/app ${digest}`];
      },
    ],
    [
      'an index without one of its images, and what is above it',
      (s) => {
        const inner = s.index('demo/app', [s.image('demo/app', 'x'), digestOf('gone')]);
        const outer = s.index('demo/app', [inner]);
        return [`incomplete-manifest demo/app ${inner}`, `incomplete-manifest demo/app ${outer}`];
      },
    ],
    [
      'a manifest of a kind that is not served',
      (s) => {
        const digest = s.manifest('demo/app', { schemaVersion: 1, name: 'x', fsLayers: [], history: [] });
        return [`invalid-manifest demo/app ${digest}`];
      },
    ],
    [
      'a manifest that is too large',
      (s) => {
        const digest = s.image('demo/app', 'x', { annotations: { text: 'x'.repeat(100_000) } });
        return [`invalid-manifest demo/app ${digest}`];
      },
    ],
    [
      'links that say nothing, or something else',
      (s) => {
        const [one, two] = [s.image('demo/app', '1'), s.image('demo/app', '2')];
        const path = (digest: string) => `${revisionsPath('demo/app')}/${linkPath(digest)}`;
        s.file(path(one), '');
        s.file(`${layersPath('demo/app')}/${linkPath(digestOf('2'))}`, 'sha256:short');
        s.file(currentPath('demo/app', 'empty'), '');
        return [
          `bad-link demo/app ${path(one)}`,
          `bad-link demo/app ${layersPath('demo/app')}/${linkPath(digestOf('2'))}`,
          `incomplete-manifest demo/app ${two}`,
          `bad-link demo/app ${currentPath('demo/app', 'empty')}`,
        ];
      },
    ],
    [
      'names that are none',
      (s) => {
        s.image('demo/app', 'x');
        s.image('Demo/app', 'x');
        s.file(currentPath('demo/app', '-tag'), digestOf('x'));
        return [`invalid-name  ${REPOSITORIES}/Demo`, `invalid-name demo/app ${tagsPath('demo/app')}/-tag`];
      },
    ],
    [
      'files that do not belong there',
      (s) => {
        s.image('demo/app', 'x');
        s.file(`${REPOSITORIES}/note.txt`, 'x');
        s.file(`${REPOSITORIES}/demo/app/_other/x`, 'x');
        s.file(`${revisionsPath('demo/app')}/note`, 'x');
        s.file(`${tagsPath('demo/app')}/v1/note`, 'x');
        return [
          `foreign-file  ${REPOSITORIES}/note.txt`,
          `foreign-file  ${REPOSITORIES}/demo/app/_other`,
          `foreign-file demo/app ${revisionsPath('demo/app')}/note`,
          `foreign-file demo/app ${tagsPath('demo/app')}/v1/note`,
        ];
      },
    ],
  ];
  it.each(damaged)('tells of %s, and shows nothing of it', async (_, damage, wishes = {}) => {
    const database = await newDatabase();
    const storage = newStorage();
    storage.tag('demo/sound', 'v1', storage.image('demo/sound', 'sound'));
    const expected = damage(storage);
    const report = await run(database, storage, wishes);
    expect((await findings(database, report)).sort()).toEqual(expected.sort());
    const sound = await findRepository(database, 'demo/sound');
    expect(await findTag(database, sound?.id ?? 0, 'v1')).toBeDefined();
    await requireClosed(database);
    // What nothing adopted needs is no member: collection would take it, and a repair of the storage would come too late.
    const { blobs } = (await stateOf(database)) as { blobs: { needed: number }[] };
    expect(blobs.filter((blob) => blob.needed === 0)).toEqual([]);
  });

  it('takes what is incomplete where the configuration lets it be pushed so', async () => {
    const database = await newDatabase();
    const storage = newStorage();
    const digest = storage.image('demo/app', 'x');
    storage.remove(blobPath(digestOf('x')));
    const index = storage.index('demo/app', [digest, digestOf('gone')]);
    expect(await run(database, storage, { sparse: true })).toMatchObject({ damage: 0, counts: { manifests: 2 } });
    const repository = await findRepository(database, 'demo/app');
    expect(await findManifest(database, repository?.id ?? 0, index)).toBeDefined();
    expect(await findBlob(database, repository?.id ?? 0, digestOf('x'))).toBeUndefined();
  });

  it('again finds the same and changes nothing, but takes what came meanwhile; tags that moved follow when that is asked for', async () => {
    const database = await newDatabase();
    const storage = fill(newStorage());
    const first = await run(database, storage);
    const before = await stateOf(database);
    const second = await run(database, storage);
    expect({ counts: second.counts, findings: second.findings }).toEqual({ counts: first.counts, findings: first.findings });
    expect(await stateOf(database)).toEqual(before);
    const later = storage.image('other', 'later');
    storage.tag('other', 'latest', later);
    storage.tag('other', 'new', later);
    expect(await findings(database, await run(database, storage))).toContain('other-tag other latest');
    const repository = await findRepository(database, 'other');
    expect(await findTag(database, repository?.id ?? 0, 'new')).toBe(later);
    expect(await findTag(database, repository?.id ?? 0, 'latest')).not.toBe(later);
    await run(database, storage, { update: true });
    expect(await findTag(database, repository?.id ?? 0, 'latest')).toBe(later);
  });

  it('cut off after any of its transactions goes on, and ends as if it had not been', async () => {
    const storage = fill(newStorage());
    const whole = await newDatabase();
    const expected = await run(whole, storage);
    const state = await stateOf(whole);
    for (let kill = 1, ended = false; !ended; kill++) {
      const database = await newDatabase();
      let writes = 0;
      const mortal: Database = {
        all: (query, params) => database.all(query, params),
        first: (query, params) => database.first(query, params),
        run: (query, params) => database.run(query, params),
        write: async (...words) => {
          if (++writes > kill) throw new Error('killed');
          return await database.write(...words);
        },
        migrate: (list) => database.migrate(list),
        clock: database.clock,
        inOrder: database.inOrder,
        ping: () => database.ping(),
        close: () => database.close(),
      };
      ended = await run(mortal, storage).then(
        () => true,
        (error: Error) => {
          expect(error.message).toBe('killed');
          return false;
        },
      );
      await requireClosed(database);
      if (ended) expect(kill).toBeGreaterThan(5);
      const report = ended ? expected : await run(database, storage);
      expect({ counts: report.counts, findings: report.findings }).toEqual({ counts: expected.counts, findings: expected.findings });
      expect(await stateOf(database)).toEqual(state);
    }
  });

  it('survives whatever files it finds, and what it adopts is whole', async () => {
    const name = fc.constantFrom(
      '_layers',
      '_manifests',
      'revisions',
      'tags',
      'current',
      'index',
      'sha256',
      'sha512',
      'link',
      'data',
      'a',
      'A',
      '.',
      '-',
      'x'.repeat(64),
      digestOf('x').slice(7),
      'ä',
      '\n',
    );
    const file = fc.record({
      path: fc.array(
        name.filter((part) => part !== '.'),
        { minLength: 1, maxLength: 7 },
      ),
      content: fc.constantFrom('', 'x', digestOf('x'), '{}', '[]'),
    });
    const database = await newDatabase();
    await fc.assert(
      fc.asyncProperty(fc.array(file, { maxLength: 30 }), async (files) => {
        const storage = newStorage();
        storage.tag('demo/app', 'v1', storage.image('demo/app', 'sound'));
        for (const { path, content } of files) {
          try {
            storage.file(`${REPOSITORIES}/${path.join('/')}`, content);
          } catch (error) {
            if (!['ENOTDIR', 'EISDIR', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error; // a file is in the way
          }
        }
        await run(database, storage);
        await requireClosed(database);
      }),
      { numRuns: 40 },
    );
  });

  it('refuses a folder that is no storage', async () => {
    const root = mkdtempSync(join(tmpdir(), 'entrepot-storage-'));
    cleanups.push(() => rmSync(root, { recursive: true, force: true }));
    writeFileSync(join(root, 'file'), 'x');
    const storage = { root } as unknown as TestStorage;
    await expect(run(await newDatabase(), storage)).rejects.toThrow('there is no storage of a registry');
  });
});

it('the order of the walk is that of components', () => {
  const component = fc.constantFrom('a', 'b', 'a-b', 'a.b', 'a0', 'z');
  const path = fc.array(component, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(path, path, (one, two) => {
      const compare = (left: readonly string[], right: readonly string[]): number => {
        const at = left.findIndex((part, index) => part !== right[index]);
        if (at < 0) return left.length - right.length;
        const [a, b] = [left[at] ?? '', right[at]];
        return b === undefined ? 1 : a < b ? -1 : 1;
      };
      expect(isAfter(one.join('/'), two.join('/'))).toBe(compare(one, two) > 0);
    }),
  );
});

/** Every tag leads to a manifest, and every manifest to all that it needs (invariant 2). */
async function requireClosed(database: Database): Promise<void> {
  const state = (await stateOf(database)) as Record<string, { name: string; digest: string; kind?: string }[]>;
  const keys = (rows: readonly { name: string; digest: string }[] = []) => new Set(rows.map(({ name, digest }) => `${name} ${digest}`));
  const [blobs, manifests] = [keys(state.blobs), keys(state.manifests)];
  for (const { name, digest } of state.tags ?? []) expect(manifests).toContain(`${name} ${digest}`);
  for (const { name, digest, kind } of state.references ?? []) expect(kind === 'blob' ? blobs : manifests).toContain(`${name} ${digest}`);
}
