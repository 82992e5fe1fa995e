import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLayerScanner, type StoredLayer } from './scanner.ts';
import { sha256, type TestEntry, tarOf } from './testing-layers.ts';

const signal = new AbortController().signal;
const status = (...names: string[]): TestEntry => ({
  path: 'var/lib/dpkg/status',
  content: names.map((name) => `Package: ${name}\nStatus: install ok installed\nVersion: 1.0-1\n`).join('\n'),
});

function layerOf(bytes: Buffer, chunk = 16 * 1024): StoredLayer {
  return {
    digest: sha256(bytes),
    async *open() {
      for (let at = 0; at < bytes.length; at += chunk) yield await Promise.resolve(bytes.subarray(at, at + chunk));
    },
  };
}

describe('the process that reads layers', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'entrepot-scanner-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** A scanner whose process runs this code in place of the reader. */
  function running(code: string, more: Parameters<typeof createLayerScanner>[0] = {}) {
    const program = join(folder, `${Math.random().toString(36).slice(2)}.mjs`);
    writeFileSync(program, code);
    return createLayerScanner({ program, ...more });
  }
  const small = layerOf(gzipSync(tarOf([status('bash')])));
  const answer = (incomplete: object) => ({ digest: small.digest, evidence: [], incomplete });

  it('gives the inventory of a layer, whose bytes it reads again for hard links', async () => {
    const plain = await createLayerScanner().scan(small, signal);
    expect(plain).toMatchObject({ digest: small.digest, evidence: [{ path: 'var/lib/dpkg/status', components: [{ name: 'bash' }] }] });
    expect(plain.incomplete).toBeUndefined();
    const twice = layerOf(
      gzipSync(
        tarOf([
          { ...status('bash', 'zlib1g'), path: 'opt/copy' },
          { path: 'var/lib/dpkg/status', type: '1', link: 'opt/copy' },
        ]),
      ),
    );
    let opened = 0;
    const open = (inner: AbortSignal) => {
      opened++;
      return twice.open(inner);
    };
    const linked = await createLayerScanner().scan({ ...twice, open }, signal);
    expect(linked).toMatchObject({ evidence: [{ components: [{ name: 'bash' }, { name: 'zlib1g' }] }] });
    expect(opened).toBe(2);
  });

  it('E7 has neither environment nor files nor children', async () => {
    const code = `
      import { readFileSync, writeFileSync } from 'node:fs';
      import { spawnSync } from 'node:child_process';
      const tries = [() => readFileSync('/etc/passwd'), () => readFileSync(${JSON.stringify(join(process.cwd(), 'package-lock.json'))}),
        () => writeFileSync('/tmp/x', ''), () => { const { error } = spawnSync('true'); if (error) throw error; }];
      const may = tries.map((work) => { try { work(); return 'may'; } catch (error) { return error.code; } });
      const detail = [...may, ...Object.keys(process.env)].join(' ');
      const none = { evidence: [], osReleases: [], licences: [], whiteouts: [], opaque: [], owned: [], written: [], folders: [], links: [], bytes: 0, entries: 0 };
      console.log(JSON.stringify({ inventory: { digest: JSON.parse(process.argv[2]).digest, ...none, incomplete: { reason: 'failed', detail } } }));
      process.exit(0);`;
    const { incomplete } = await running(code).scan(small, signal);
    expect(incomplete).toEqual({ reason: 'failed', detail: Array(4).fill('ERR_ACCESS_DENIED').join(' ') });
  });

  it.skipIf(!existsSync('/usr/bin/prlimit'))('E7 is ended by the kernel after its time, whatever became of who started it', async () => {
    const code = `
      const { userLimits } = process.report.getReport();
      const detail = JSON.stringify([userLimits.cpu_time_seconds, userLimits.core_file_size_blocks.soft]);
      const none = { evidence: [], osReleases: [], licences: [], whiteouts: [], opaque: [], owned: [], written: [], folders: [], links: [], bytes: 0, entries: 0 };
      console.log(JSON.stringify({ inventory: { digest: JSON.parse(process.argv[2]).digest, ...none, incomplete: { reason: 'failed', detail } } }));
      process.exit(0);`;
    const { incomplete } = await running(code, { limits: { time: 30_000 }, graceMs: 500 }).scan(small, signal);
    expect(incomplete).toEqual({ reason: 'failed', detail: JSON.stringify([{ soft: 31, hard: 36 }, 0]) });
    const killed = await running('process.kill(process.pid, "SIGXCPU")').scan(small, signal);
    expect(killed).toMatchObject(answer({ reason: 'limit', limit: 'time' }));
  });

  it('E7 that crashes, or says nothing, leaves an inventory that says so', async () => {
    for (const code of ['process.exit(3)', 'process.exit(0)', 'process.kill(process.pid, "SIGSEGV")', 'throw new Error("boom")'])
      expect(await running(code).scan(small, signal)).toMatchObject(answer({ reason: 'failed' }));
  });

  it('E7 that hangs is ended after its time', async () => {
    const scanner = running('for (;;);', { limits: { time: 200 }, graceMs: 300 });
    expect(await scanner.scan(small, signal)).toMatchObject(answer({ reason: 'limit', limit: 'time' }));
  });

  it('E7 that fills the memory is ended', async () => {
    const heap = 'const all = []; for (;;) all.push(new Array(1e5).fill(all.length));';
    expect(await running(heap, { heap: 48 }).scan(small, signal)).toMatchObject(answer({ reason: 'limit', limit: 'memory' }));
    const buffers = 'const all = []; setInterval(() => { all.push(Buffer.alloc(8 << 20, 1)); }, 1);';
    expect(await running(buffers, { memory: 300 << 20 }).scan(small, signal)).toMatchObject(answer({ reason: 'limit', limit: 'memory' }));
  });

  it('E7 that was taken over can say of a layer what it likes, and nothing else', async () => {
    const other = layerOf(gzipSync(tarOf([status('other')])));
    const inventory = await createLayerScanner().scan(other, signal);
    for (const told of [
      '{}',
      'no JSON',
      JSON.stringify({ inventory }), // of another layer
      JSON.stringify({ inventory: { ...inventory, digest: small.digest, more: true } }),
      JSON.stringify({ inventory: { ...inventory, digest: small.digest, evidence: [{ path: 1, components: [] }] } }),
      JSON.stringify({ inventory: { ...inventory, digest: small.digest, bytes: -1 } }),
    ])
      expect(
        await running(`process.stdout.write(${JSON.stringify(`${told}\n`)}, () => process.exit(0))`).scan(small, signal),
      ).toMatchObject(answer({ reason: 'failed' }));
    const flood = 'const line = "x".repeat(1 << 20); const more = () => process.stdout.write(line, more); more();';
    expect(await running(flood, { answer: 4 << 20 }).scan(small, signal)).toMatchObject(answer({ reason: 'limit', limit: 'components' }));
  });

  it('fails where the bytes cannot be had, and with the reason of the signal', async () => {
    const broken: StoredLayer = {
      ...small,
      async *open() {
        yield await Promise.resolve(Buffer.alloc(10));
        throw new Error('the disk is gone');
      },
    };
    await expect(createLayerScanner().scan(broken, signal)).rejects.toThrow('the disk is gone');
    const abort = new AbortController();
    const hanging = running('setInterval(() => {}, 1000)').scan(small, abort.signal);
    abort.abort(new Error('enough'));
    await expect(hanging).rejects.toThrow('enough');
  });

  it('reads one layer at a time, others wait, and leave when they are told to', async () => {
    const abort = new AbortController();
    const scanner = running('setInterval(() => {}, 1000)');
    const first = scanner.scan(small, abort.signal);
    const leave = new AbortController();
    const second = scanner.scan(small, leave.signal);
    leave.abort(new Error('left'));
    await expect(second).rejects.toThrow('left');
    abort.abort(new Error('ended'));
    await expect(first).rejects.toThrow('ended');
    // The turn is free again.
    await expect(scanner.scan(small, AbortSignal.abort(new Error('late')))).rejects.toThrow('late');
  });

  it('takes no more bytes than it reads', async () => {
    let given = 0;
    const endless: StoredLayer = {
      digest: small.digest,
      async *open() {
        for (;;) {
          given += 1 << 20;
          yield await Promise.resolve(Buffer.alloc(1 << 20));
        }
      },
    };
    const scanner = running('setTimeout(() => process.exit(1), 300)');
    await scanner.scan(endless, signal);
    expect(given).toBeLessThan(16 << 20);
  });
});
