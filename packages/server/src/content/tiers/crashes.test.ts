import { randomBytes, randomInt } from 'node:crypto';
import { digestOf } from '@entrepot/oci';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Database } from '../../platform/index.ts';
import type { BlobReader, BlobStore } from '../blob-store.ts';
import { readContent } from '../encryption/testing.ts';
import { freeMoves } from './start-rows.ts';
import { type TestTiers, tieredFiles } from './testing.ts';

const none = new AbortController().signal;
const bytes = randomBytes(700_000); // of more than one piece
const digest = digestOf(bytes);

/** A process that dies at one of its steps: before it is done, or when it is done and nobody heard of it. What comes later is not done. */
function mortal(step: number, when: 'before' | 'after') {
  let taken = 0;
  let isDead = false;
  const dead = () => new Error('this process is dead');
  async function take<T>(work: () => T | Promise<T>): Promise<T> {
    const isLast = taken++ === step;
    if (isLast && when === 'before') isDead = true;
    if (isDead) throw dead();
    const result = await work();
    if (isLast) isDead = true;
    if (isDead) throw dead();
    return result;
  }
  const reader = (base: BlobReader): BlobReader => ({ ...base, read: (...args) => take(() => base.read(...args)) });
  const store = (base: BlobStore): BlobStore => ({
    ...base,
    async open(...args) {
      const found = await take(() => base.open(...args));
      return found && reader(found);
    },
    async openUpload(...args) {
      const writer = await take(() => base.openUpload(...args));
      return { ...writer, write: (...of) => take(() => writer.write(...of)), close: () => take(() => writer.close()) };
    },
    openUploadForReading: (id) => take(async () => reader(await base.openUploadForReading(id))),
    commit: (...args) => take(() => base.commit(...args)),
    put: (...args) => take(() => base.put(...args)),
    remove: (...args) => take(() => base.remove(...args)),
    removeUpload: (...args) => take(() => base.removeUpload(...args)),
  });
  return {
    around: { hot: store, cold: store },
    database: (base: Database): Database => ({
      all: (query, params) => base.all(query, params),
      first: (query, params) => base.first(query, params),
      run: (query, params) => base.run(query, params),
      inOrder: (work) => base.inOrder(work),
      write: (work, options) => take(() => base.write(work, options)),
      migrate: (migrations) => base.migrate(migrations),
      clock: base.clock,
      ping: () => base.ping(),
      close: () => base.close(),
    }),
    get reached() {
      return taken > step;
    },
  };
}

const swept = (at: TestTiers) => at.run('tiers.sweep');
const cold = async (at: TestTiers) => {
  expect(await at.tiers.demote(digest, none)).toBe('moved');
};

const coldAlone = async (at: TestTiers) => {
  await cold(at);
  await swept(at);
};
const hotAgain = async (at: TestTiers) => {
  await cold(at);
  expect(await at.tiers.promote(digest, none)).toBe('moved');
};

/** What may be cut off: what was done before, the deed, and whether the blob is still owed to anybody afterwards. */
const DEEDS: [string, (at: TestTiers) => Promise<unknown>, (at: TestTiers) => Promise<unknown>, boolean][] = [
  ['becomes cold', async () => undefined, (at) => at.tiers.demote(digest, none), true],
  ['becomes hot', coldAlone, (at) => at.tiers.promote(digest, none), true],
  ['becomes hot before what was left of it there is taken away', cold, (at) => at.tiers.promote(digest, none), true],
  ['is taken away where it was hot', cold, swept, true],
  ['is taken away where it was cold', hotAgain, swept, true],
  ['is pushed again while cold', coldAlone, (at) => at.store.put(digest, bytes), true],
  ['is removed while cold', cold, (at) => at.store.remove(digest), false],
];

describe.each(DEEDS)('a process that dies while a blob %s', (_, before, deed, isOwed) => {
  it.each(['before', 'after'] as const)(
    'at any of its steps, %s it is done, leaves it where it can be read, and the rows are mended',
    async (when) => {
      for (let step = 0, isOver = false; !isOver; step++) {
        const at = await tieredFiles();
        try {
          await at.store.put(digest, bytes);
          await before(at);
          const life = mortal(step, when);
          const dying = await at.another({ around: life.around, database: life.database });
          await deed(dying).catch(() => undefined);
          isOver = !life.reached;
          // The next start.
          await at.database.write(freeMoves);
          const again = await at.another();
          if (isOwed) {
            expect((await readContent(await again.store.open(digest))).equals(bytes)).toBe(true);
            await settleDown(again);
            expect((await readContent(await again.store.open(digest))).equals(bytes)).toBe(true);
            expect(await again.copies(digest)).toHaveLength(1);
            const row = await again.row(digest);
            expect(row?.tier ?? 'hot').toBe((await again.copies(digest))[0]);
            // And it can be done again.
            await deed(again);
            await settleDown(again);
            expect((await readContent(await again.store.open(digest))).equals(bytes)).toBe(true);
          } else {
            await again.store.remove(digest);
            await settleDown(again);
            expect(await again.copies(digest)).toEqual([]);
            expect(await again.row(digest)).toBeUndefined();
          }
        } finally {
          await at.remove();
        }
      }
    },
  );
});

/** Takes leftovers away at once, whenever they were due. */
async function settleDown(at: TestTiers): Promise<void> {
  const later = await at.another({ clock: { now: () => Date.now() + 3_600_000 } });
  for (let times = 0; times < 3; times++) await later.run('tiers.sweep');
}

describe('two processes that move, push, pull and sweep the same blobs at once', () => {
  const contents = Array.from({ length: 3 }, () => randomBytes(200_000));
  const deed = fc.record({
    process: fc.nat(1),
    blob: fc.nat(contents.length - 1),
    what: fc.constantFrom('demote', 'promote', 'pull', 'put', 'sweep', 'read'),
  });

  it('lose none of them, read what was stored at any time, and have one copy of each in the end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(deed, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 5 }), async (rounds) => {
        const first = await tieredFiles({ graceMs: 1 });
        try {
          const processes = [first, await first.another()];
          for (const content of contents) await first.store.put(digestOf(content), content);
          const act = async ({ process, blob, what }: (typeof rounds)[number][number]) => {
            const at = processes[process] ?? first;
            const content = contents[blob] ?? bytes;
            const name = digestOf(content);
            if (what === 'demote' || what === 'promote') await at.tiers[what](name, none);
            else if (what === 'put') await at.store.put(name, content);
            else if (what === 'sweep') await at.run('tiers.sweep');
            else {
              const reader = await at.store.open(name, { pulled: what === 'pull' });
              expect((await readContent(reader, randomInt(1000, 300_000))).equals(content)).toBe(true);
            }
          };
          for (const round of rounds) await Promise.all(round.map(act));
          for (const content of contents) expect((await readContent(await first.store.open(digestOf(content)))).equals(content)).toBe(true);
          for (const content of contents) {
            await expect.poll(async () => (await first.row(digestOf(content)))?.task ?? null, { timeout: 20_000 }).toBeNull();
            await settleDown(first);
            expect(await first.copies(digestOf(content))).toHaveLength(1);
            await first.store.remove(digestOf(content));
            expect(await first.copies(digestOf(content))).toEqual([]);
          }
        } finally {
          await first.remove();
        }
      }),
      { numRuns: 12 },
    );
  });
});
