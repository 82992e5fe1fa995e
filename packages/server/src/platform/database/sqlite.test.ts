import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { databaseContract } from './contract.ts';
import type { Database } from './database.ts';
import { openSqlite } from './sqlite.ts';
import { sqliteData } from './testing.ts';
import { allCounters, counterMigrations, counterValue, increment, insertCounter } from './testing-counters.ts';

/** What the disk does: `failing` syncs fail, `written` are the bytes of the log written again. */
const disk = vi.hoisted(() => ({ failing: false, failingSync: false, syncs: 0, written: 0 }));

vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>();
  const eio = () => Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
  return {
    ...real,
    fdatasync: (fd: number, callback: (error: Error | null) => void) => {
      disk.syncs++;
      if (disk.failing) setImmediate(callback, eio());
      else real.fdatasync(fd, callback);
    },
    fdatasyncSync: (fd: number) => {
      if (disk.failingSync) throw eio();
      real.fdatasyncSync(fd);
    },
    writeSync: (fd: number, bytes: Uint8Array, offset: number, length: number, position: number) => {
      disk.written += length;
      return real.writeSync(fd, bytes, offset, length, position);
    },
  };
});

databaseContract('SQLite', sqliteData);

describe('SQLite file', () => {
  let folder: string;
  let path: string;
  let database: Database;
  const children: ChildProcess[] = [];
  const set = (name: string, value: number) => database.write((tx) => Promise.resolve(tx.run(insertCounter, { name, value })));
  const value = async () => (await database.first(counterValue, { name: 'a' }))?.value;

  async function open(checkpoint: boolean): Promise<void> {
    folder = fs.mkdtempSync(join(tmpdir(), 'entrepot-db-'));
    path = join(folder, 'test.db');
    database = openSqlite(path, { checkpoint });
    await database.migrate(counterMigrations);
    await set('a', 0);
  }

  async function otherProcess(): Promise<ChildProcess> {
    const child = fork(fileURLToPath(new URL('./testing-process.ts', import.meta.url)), [path], { execArgv: [] });
    children.push(child);
    await once(child, 'message');
    return child;
  }

  async function tell(child: ChildProcess, times: number, durable: boolean): Promise<void> {
    child.send({ times, durable });
    await once(child, 'message');
  }

  beforeEach(() => {
    Object.assign(disk, { failing: false, failingSync: false, syncs: 0, written: 0 });
  });
  afterEach(async () => {
    await Promise.all(
      children.splice(0).map(async (child) => {
        child.disconnect();
        await once(child, 'exit');
      }),
    );
    await database.close();
    fs.rmSync(folder, { recursive: true });
  });

  it('loses no count between processes that write at once', async () => {
    await open(true);
    const others = await Promise.all([otherProcess(), otherProcess()]);
    const own = async () => {
      for (let i = 0; i < 200; i++) await increment(database, 'a', i % 5 === 0);
    };
    await Promise.all([own(), ...others.map((child) => tell(child, 200, true)), ...others.map((child) => tell(child, 200, false))]);
    await expect.poll(value).toBe(1000);
  });

  it('never reads a row as it was before a commit of another process that it has heard of', async () => {
    await open(false);
    const other = await otherProcess();
    for (let i = 1; i <= 100; i++) {
      expect(await value()).toBe(i - 1); // now kept
      await tell(other, 1, i % 2 === 0);
      expect(await value()).toBe(i);
    }
  });

  it('never reads a row back in time while another process writes', async () => {
    await open(false);
    const other = await otherProcess();
    let done = false;
    const told = tell(other, 1000, false).then(() => {
      done = true;
    });
    let last = 0;
    let changes = 0;
    while (!done) {
      const now = (await value()) ?? -1;
      expect(now).toBeGreaterThanOrEqual(last);
      if (now > last) changes++;
      last = now;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await told;
    expect(await value()).toBe(1000);
    expect(changes).toBeGreaterThan(1);
  });

  it('keeps what was acknowledged when it is opened again', async () => {
    await open(false);
    await set('b', 7);
    await database.close();
    database = openSqlite(path, { checkpoint: false });
    expect(await database.all(allCounters, {})).toEqual([
      { name: 'a', value: 0 },
      { name: 'b', value: 7 },
    ]);
  });

  it('serves many waiting changes by few syncs', async () => {
    await open(false);
    const before = disk.syncs;
    await Promise.all(Array.from({ length: 64 }, (_, index) => set(`n${index}`, index)));
    expect(disk.syncs - before).toBeLessThan(16);
  });

  it('acknowledges nothing whose sync failed, and nothing after it before the log was written and synced anew', async () => {
    await open(false);
    disk.failing = true;
    disk.failingSync = true;
    await expect(set('lost', 1)).rejects.toMatchObject({ code: 'EIO' });
    // The sync would succeed now, but the kernel may have dropped the pages that it could not write.
    disk.failing = false;
    const before = disk.syncs;
    await expect(set('later', 1)).rejects.toMatchObject({ code: 'EIO' });
    await expect(database.ping()).rejects.toMatchObject({ code: 'EIO' });
    expect(disk.syncs).toBe(before);
    expect(await value()).toBe(0);

    disk.failingSync = false;
    disk.written = 0;
    const log = fs.statSync(`${path}-wal`).size;
    await set('b', 2);
    expect(disk.written).toBe(log);
    await database.ping();
    expect((await database.all(allCounters, {})).map(({ name }) => name)).toEqual(expect.arrayContaining(['a', 'b']));
  });

  it('moves its log into the database file while it is written to, and loses nothing by it', async () => {
    await open(true);
    const bytes = () => fs.statSync(path).size;
    const before = bytes();
    let written = 0;
    const fill = async () => {
      // Each change is at least one page of the log; some thousand of them start a checkpoint.
      await Promise.all(Array.from({ length: 32 }, () => set(`row-${written++}-${'x'.repeat(500)}`, written)));
    };
    while (bytes() === before) await fill();
    await fill();
    await database.close();
    database = openSqlite(path, { checkpoint: false });
    expect(await database.all(allCounters, {})).toHaveLength(written + 1);
  });
});
