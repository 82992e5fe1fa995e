import { AggregatorRegistry } from 'prom-client';
import { startApp } from './app.ts';
import type { PrimaryMessage, WorkerMessage, WorkerRole } from './workers.ts';

// One of several processes that share the port; started and watched over by workers.ts.
const { config, leader, holder } = JSON.parse(process.env.ENTREPOT_WORKER ?? '{}') as WorkerRole;
delete process.env.ENTREPOT_WORKER;

const tell = (message: WorkerMessage) => void process.send?.(message);
const asked = new Map<number, (text: string | undefined) => void>();
let asks = 0;

process.on('message', (message: Partial<PrimaryMessage>) => {
  if (message.type !== 'metrics' || message.id === undefined) return; // prom-client talks on the same channel
  asked.get(message.id)?.(message.text);
  asked.delete(message.id);
});

/** The sum of what all workers count, which only the first process can ask them for. */
function collectAll(): Promise<string | undefined> {
  const id = asks++;
  tell({ type: 'metrics', id });
  return new Promise((resolve) => asked.set(id, resolve));
}

try {
  const app = await startApp(config, { shared: true, leader, holder, collectAll });
  AggregatorRegistry.setRegistries([app.metrics]);
  new AggregatorRegistry(); // answers when it is asked for this worker's metrics
  const stop = () => {
    void app.stop().then(() => process.exit(0));
  };
  for (const event of ['SIGTERM', 'SIGINT', 'SIGHUP', 'disconnect']) process.on(event, stop);
  tell({ type: 'ready', port: app.port });
} catch (error) {
  tell({ type: 'failed', error: (error as Error).message });
  process.exit(1);
}
