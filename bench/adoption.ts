import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const USAGE = `npm run bench:adoption -- [options]
  Makes the storage of a registry:2 with many tags, and measures how long entrepot adopt takes, and what it holds.
  --tags N           default 1000000
  --manifests N      default 250000, spread over the tags
  --repositories N   default 100
  --folder DIR       where to make it, default the system's temporary folder; 24 KiB a tag, and as many inodes as 6 a tag
  --keep             leave the storage; --storage DIR measures one that was left`;

const ENTREPOT = fileURLToPath(new URL('../packages/cli/bin/entrepot.js', import.meta.url));
const LAYERS = 3;

const hex = (bytes: string) => createHash('sha256').update(bytes).digest('hex');

interface Counts {
  readonly tags: number;
  readonly manifests: number;
  readonly repositories: number;
}

/** Writes the files of distribution; equal links are one file, which saves half of the disk. */
export function makeStorage(root: string, { tags, manifests, repositories }: Counts): void {
  const base = join(root, 'docker/registry/v2');
  const blob = (content: string): { digest: string; size: number } => {
    const name = hex(content);
    const folder = join(base, 'blobs/sha256', name.slice(0, 2), name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'data'), content);
    return { digest: `sha256:${name}`, size: content.length };
  };
  const link = (path: string, digest: string) => {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, 'link'), digest);
    return join(path, 'link');
  };
  for (let number = 0; number < repositories; number++) {
    const repository = join(base, 'repositories', `project-${number % 10}`, `app-${number}`);
    const parts = Array.from({ length: LAYERS + 1 }, (_, at) => blob(`layer ${at} of ${number}`));
    for (const { digest } of parts) link(join(repository, '_layers/sha256', digest.slice(7)), digest);
    const [config, ...layers] = parts.map((part) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...part }));
    const revisions: { digest: string; file: string }[] = [];
    for (let at = 0; at < manifests / repositories; at++) {
      const annotations = { 'org.opencontainers.image.version': String(at) };
      const manifest = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config, layers, annotations };
      const { digest } = blob(JSON.stringify(manifest));
      revisions.push({ digest, file: link(join(repository, '_manifests/revisions/sha256', digest.slice(7)), digest) });
    }
    for (let at = 0; at < tags / repositories; at++) {
      const { digest, file } = revisions[at % revisions.length] ?? { digest: '', file: '' };
      const tag = join(repository, '_manifests/tags', `v${at}`);
      mkdirSync(join(tag, 'current'), { recursive: true });
      mkdirSync(join(tag, 'index/sha256', digest.slice(7)), { recursive: true });
      linkSync(file, join(tag, 'current/link'));
      linkSync(file, join(tag, 'index/sha256', digest.slice(7), 'link'));
    }
  }
}

/** Adopts a storage into a data directory of its own, and tells how long it took. */
async function measure(storage: string, data: string): Promise<void> {
  const words = ['--max-semi-space-size=4', ENTREPOT, 'adopt', '--data', data, '--storage-dir', storage, '--json'];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const started = performance.now();
  let peak = 0;
  let result: { counts?: { tags: number; manifests: number } } = {};
  for await (const line of createInterface({ input: child.stdout })) {
    const told = JSON.parse(line) as { type: string; counts?: { tags: number; manifests: number } };
    if (told.type === 'result') result = told;
    if (told.type === 'progress') peak = Math.max(peak, peakMiB(child.pid));
  }
  const seconds = (performance.now() - started) / 1000;
  const { tags = 0, manifests = 0 } = result.counts ?? {};
  console.log(`${tags} tags and ${manifests} manifests in ${seconds.toFixed(0)} s: ${Math.round(tags / seconds)} tags/s, peak ${peak} MiB`);
}

function peakMiB(pid: number | undefined): number {
  try {
    return Math.round(Number(/VmHWM:\s+([0-9]+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024);
  } catch {
    return 0; // it has ended
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      tags: { type: 'string', default: '1000000' },
      manifests: { type: 'string', default: '250000' },
      repositories: { type: 'string', default: '100' },
      folder: { type: 'string', default: tmpdir() },
      storage: { type: 'string' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const folder = mkdtempSync(join(values.folder, 'entrepot-adoption-'));
  const storage = values.storage ?? join(folder, 'storage');
  try {
    if (values.storage === undefined) {
      const begun = performance.now();
      const counts = { tags: Number(values.tags), manifests: Number(values.manifests), repositories: Number(values.repositories) };
      makeStorage(storage, counts);
      console.log(`made in ${Math.round((performance.now() - begun) / 1000)} s: ${storage}`);
    }
    for (const run of ['first', 'again']) {
      process.stdout.write(`${run}: `);
      await measure(storage, join(folder, 'data'));
    }
  } finally {
    rmSync(values.keep ? join(folder, 'data') : folder, { recursive: true, force: true });
  }
}

if (import.meta.main) await main();
