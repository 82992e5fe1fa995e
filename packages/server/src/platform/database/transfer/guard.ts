import { setTimeout as delay } from 'node:timers/promises';
import { EVERYTHING } from '../postgres-transactions.ts';
import { connectForLong } from './postgres-tables.ts';

const TRIES = 20;
const TRY_MS = 100;

/** Keeps all changes of a PostgreSQL database waiting, as long as nothing else of ours is connected to it. */
export interface Guard {
  /** Throws where a server, or a command, is connected meanwhile; connections of other users of PostgreSQL are not seen. */
  requireAlone(): Promise<void>;
  release(): Promise<void>;
}

/** Throws where a server or a command is connected. */
export async function guardPostgres(url: string): Promise<Guard> {
  const client = await connectForLong(url);
  async function others(): Promise<number> {
    const { rows } = await client.query<{ count: bigint }>(
      `SELECT count(*) AS count FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'entrepot' AND pid <> pg_backend_pid()`,
    );
    return Number(rows[0]?.count);
  }
  const guard: Guard = {
    async requireAlone() {
      for (let tries = 0; (await others()) > 0; tries++) {
        if (tries === TRIES) throw new Error('servers or commands are connected to the PostgreSQL database; stop them');
        await delay(TRY_MS); // what was closed a moment ago may still be counted
      }
    },
    release: () => client.end().catch(() => undefined),
  };
  try {
    await guard.requireAlone();
    await client.query(`SELECT pg_advisory_lock(${EVERYTHING})`);
    return guard;
  } catch (error) {
    await guard.release();
    throw error;
  }
}
