import Type from 'typebox';
import { AppError, type Caller, type Route, routesFor, type Session } from '../../platform/index.ts';
import type { Encryption } from './index.ts';
import type { KeyProvider } from './providers/provider.ts';
import { countKeys } from './rotation-rows.ts';
import { startEncrypting, startRewrap } from './start.ts';
import { countWrappings } from './wrapping-rows.ts';

const CURRENT_MS = 6000;

const Version = Type.Object({
  provider: Type.String({ description: 'file, vault or aws; projects: no key but those of projects' }),
  version: Type.String(),
});

const View = Type.Object({
  encrypting: Type.Boolean({ description: 'whether new blobs are encrypted' }),
  current: Type.Union([Version, Type.Null()], { description: 'what wraps new data keys; null where it cannot be reached' }),
  keys: Type.Array(
    Type.Object({
      ...Version.properties,
      keys: Type.Integer({ description: 'data keys wrapped under it' }),
      copied: Type.Integer({ description: 'how many of these lie beside the blobs too' }),
    }),
  ),
  projectKeys: Type.Array(
    Type.Object({
      name: Type.String(),
      current: Type.Union([Version, Type.Null()], {
        description: 'what it wraps by; null where it cannot be reached, or is not configured',
      }),
      keys: Type.Array(Type.Object({ ...Version.properties, keys: Type.Integer({ description: 'data keys wrapped under it' }) })),
    }),
    { description: 'keys that projects may have in place of that' },
  ),
});

const Started = Type.Object({ job: Type.Integer({ description: 'id of the job' }) });

interface Parts {
  readonly database: Session;
  /** Undefined where nothing is encrypted. */
  readonly encryption: Encryption | undefined;
}

/** Encryption at rest: how it is, and its keys' rotation. */
export function encryptionRoutes({ database, encryption }: Parts): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Storage' } as const;

  function required(): Encryption {
    if (!encryption) throw new AppError('conflict', 'blobs of this registry are not encrypted; see the option encryption');
    return encryption;
  }

  async function current(by: KeyProvider | undefined): Promise<{ provider: string; version: string } | null> {
    if (!by) return null;
    const late = new Promise<null>((resolve) => setTimeout(resolve, CURRENT_MS, null).unref());
    const found = by.current().then((version) => ({ provider: by.name, version }));
    return await Promise.race([found, late]).catch(() => null);
  }

  async function projectKeys() {
    const counts = await countWrappings(database);
    const { names, of } = encryption?.projectKeys.providers ?? { names: [], of: () => undefined };
    const all = [...new Set([...names, ...counts.map(({ name }) => name)])].sort();
    return await Promise.all(
      all.map(async (name) => ({
        name,
        current: await current(of(name)),
        keys: counts.filter((count) => count.name === name).map(({ provider, version, keys }) => ({ provider, version, keys })),
      })),
    );
  }

  return [
    read({
      ...common,
      method: 'GET',
      path: '/encryption',
      summary: 'Read which keys encrypt the blobs',
      description: 'A version of a key may be taken away from its provider once it is not current and no data keys are wrapped under it.',
      permission: 'storage:read',
      answer: View,
      handle: async () => ({
        body: {
          encrypting: encryption !== undefined,
          current: await current(encryption?.keys.providers.active),
          keys: await countKeys(database),
          projectKeys: await projectKeys(),
        },
      }),
    }),
    change({
      ...common,
      method: 'POST',
      path: '/encryption/rewrap',
      summary: 'Wrap all data keys under the newest version of the key, after its rotation',
      description: 'A job does it; blobs are not touched. Asked again it goes over what is left.',
      permission: 'storage:manage',
      audit: 'encryption.rewrap',
      answer: Started,
      status: 202,
      async change(tx, { now }) {
        const { active } = required().keys.providers;
        const job = await startRewrap(tx, now);
        return { body: { job }, resource: { type: 'encryption', name: active.name }, after: { job } };
      },
    }),
    change({
      ...common,
      method: 'POST',
      path: '/encryption/encrypt-stored',
      summary: 'Encrypt what lies in the clear',
      description: 'A job does it, by itself once after encryption was switched on; needed again after blobs came past the registry.',
      permission: 'storage:manage',
      audit: 'encryption.encrypt',
      answer: Started,
      status: 202,
      async change(tx, { now }) {
        const { active } = required().keys.providers;
        const job = await startEncrypting(tx, now);
        return { body: { job }, resource: { type: 'encryption', name: active.name }, after: { job } };
      },
    }),
  ];
}
