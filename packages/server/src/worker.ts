import { startApp } from './app.ts';
import type { Config } from './platform/index.ts';

// One of several processes that share the port; started by `serve` in main.ts.
const { config, leader } = JSON.parse(process.env.ENTREPOT_WORKER ?? '{}') as { config: Config; leader: boolean };
delete process.env.ENTREPOT_WORKER;

try {
  const app = await startApp(config, { shared: true, leader });
  const stop = () => {
    void app.stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('disconnect', stop);
  process.send?.({ type: 'ready', port: app.port });
} catch (error) {
  process.send?.({ type: 'failed', error: (error as Error).message });
  process.exit(1);
}
