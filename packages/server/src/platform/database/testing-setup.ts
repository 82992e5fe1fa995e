import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Cluster, startCluster } from './testing-postgres.ts';

/** Before all tests: whoever asks on a socket is given the one PostgreSQL of this run, which starts with the first that asks. */
export default async function setup(): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-run-'));
  const path = join(folder, 'postgres');
  let cluster: Promise<Cluster> | undefined;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    cluster ??= startCluster();
    cluster.then(
      (started) => socket.end(decodeURIComponent(new URL(started.url('postgres')).searchParams.get('host') ?? '')),
      (error: unknown) => socket.end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  server.unref();
  process.env.ENTREPOT_TEST_POSTGRES = path;
  return async () => {
    server.close();
    await cluster?.then((started) => started.remove()).catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  };
}
