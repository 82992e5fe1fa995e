// Where hostile content is read: a process with no environment, no files but its own code, no children and, where the system lets
// it, no network. It gets a layer through one pipe, a second time through another where it asks for that, and answers in lines.
import { Socket } from 'node:net';
import { CATALOGUERS } from './cataloguers/index.ts';
import { inventoryLayer } from './layer.ts';
import { LAYER_LIMITS, type LayerLimits } from './limits.ts';

const SECOND = 3;

const { digest, limits } = JSON.parse(process.argv[2] ?? '{}') as { digest: string; limits?: Partial<LayerLimits> };

function say(line: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${JSON.stringify(line)}\n`, (error) => (error ? reject(error) : resolve()));
  });
}

/** The layer's time is that of the processor: how long its bytes take to come is not its fault. */
function usedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

let passes = 0;

async function* open(): AsyncGenerator<Uint8Array> {
  if (passes++ === 0) return yield* process.stdin;
  await say({ again: true });
  yield* new Socket({ fd: SECOND, readable: true, writable: false });
}

const inventory = await inventoryLayer({ digest, open }, { cataloguers: CATALOGUERS, limits: { ...LAYER_LIMITS, ...limits }, now: usedMs });
await say({ inventory });
process.exit(0); // whatever of the layer was not read is not waited for
