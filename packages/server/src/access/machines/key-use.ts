import { type Database, queriesOf } from '../../platform/index.ts';
import type { MachineTables } from './schema.ts';

const EVERY_MS = 60_000;

const query = queriesOf<MachineTables>('machines');
const noteUse = query<{ keyId: number; number: number; at: number; from: string }>()('noteKeyUse', (db, p) =>
  db
    .updateTable('access_key_secret')
    .set({ last_used_at: p('at'), last_used_from: p('from') })
    .where('key_id', '=', p('keyId'))
    .where('number', '=', p('number'))
    .where((eb) => eb.or([eb('last_used_at', 'is', null), eb('last_used_at', '<', p('at'))])),
);

/** Notes when and from where access keys were last used. */
export interface KeyUse {
  note(secret: { readonly keyId: number; readonly number: number }, at: number, from: string): void;
  /** Writes what was noted. */
  flush(): Promise<void>;
}

/** Uses are gathered and written together, once a minute at most, so that no request waits for them; a crash loses the last minute. */
export function createKeyUse(database: Database): KeyUse {
  const noted = new Map<string, { keyId: number; number: number; at: number; from: string }>();
  let timer: NodeJS.Timeout | undefined;

  async function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const uses = [...noted.values()];
    noted.clear();
    if (uses.length === 0) return;
    await database.write(
      async (tx) => {
        for (const use of uses) await tx.run(noteUse, use);
      },
      { durable: false, scope: ['key-use'] },
    );
  }

  return {
    note({ keyId, number }, at, from) {
      noted.set(`${keyId}.${number}`, { keyId, number, at, from });
      timer ??= setTimeout(() => void flush().catch(() => undefined), EVERY_MS).unref();
    },
    flush,
  };
}
