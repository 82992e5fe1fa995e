import { Connection, requestHead } from './load/connection.ts';
import { originOf, type Server } from './peers.ts';

const SECONDS = 3;
const TYPE = 'application/vnd.oci.image.manifest.v1+json';
const many = (count: number, item: (index: number) => string) => Array.from({ length: count }, (_, index) => item(index)).join();
const withField = (text: string) => Buffer.from(`{"schemaVersion":2,"mediaType":"${TYPE}","x":${text}}`);

/** Up to 4 MiB each, made to cost a parser much. */
const BODIES: readonly Buffer[] = [
  withField('['.repeat(2_000_000) + ']'.repeat(2_000_000)),
  withField(`{${many(400_000, (index) => `"${index.toString(36)}":0`)}}`),
  withField(`{${many(130_000, (index) => `"\\u0061${String(index).padStart(18, 'k')}":0`)}}`),
  withField(`[${'0,'.repeat(2_000_000)}0]`),
  withField(`"${'\\"'.repeat(2_000_000)}"`),
];

/**
 * Pushes manifests that are meant to hold the server up, one after the other on two connections, and gives the 99th
 * percentile of its event loop's delay meanwhile, as its own metrics have it; NaN where a server has no such metric.
 */
export async function measureHostile(server: Server, repository: string): Promise<number> {
  if (Number.isNaN(await loopDelay(server))) return Number.NaN; // each reading begins a new window
  const origin = await originOf(server, repository);
  const end = performance.now() + SECONDS * 1000;
  const attack = async (first: number) => {
    const connection = await Connection.open(origin);
    for (let index = first; performance.now() < end; index++) {
      const body = BODIES[index % BODIES.length] ?? Buffer.alloc(0);
      const head = requestHead(origin, 'PUT', `/v2/${repository}/manifests/hostile`, {
        'Content-Type': TYPE,
        'Content-Length': body.length,
      });
      const { status } = await connection.request([head, body]);
      if (status !== 400) throw new Error(`a hostile manifest was answered with ${status}`);
    }
    connection.close();
  };
  await Promise.all([attack(0), attack(2)]);
  return await loopDelay(server);
}

async function loopDelay({ url }: Server): Promise<number> {
  const text = await (await fetch(`http://${url.host}/metrics`)).text();
  return Number(/^nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(text)?.[1] ?? Number.NaN) * 1000;
}
