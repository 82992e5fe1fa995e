import { join } from 'node:path';
import { type Config, createLog, dataPaths, isOnPostgres, isShareable, lockData, takeForHost } from './platform/index.ts';

/**
 * Keeps others off a data directory with a database in it: of this host, and of others that may see the folder. Throws where
 * another is there. On PostgreSQL there is nothing to take.
 */
export async function takeData(config: Config): Promise<() => void> {
  if (isOnPostgres(config)) return () => undefined;
  const { root, lock } = dataPaths(config);
  const release = lockData(lock);
  try {
    if (!isShareable(root)) return release;
    const onTaken = (host: string) => {
      createLog(config.logLevel).fatal({ host }, 'another host uses the data directory; this process ends before it does harm');
      process.exit(1);
    };
    const leave = await takeForHost(join(root, 'server.host'), { onTaken });
    return () => {
      leave();
      release();
    };
  } catch (error) {
    release();
    throw error;
  }
}
