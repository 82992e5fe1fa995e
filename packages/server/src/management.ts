import type { KeyObject } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { finished } from 'node:stream/promises';
import type { Access, Identity, PasswordChecker, Sessions, Throttle } from './access/index.ts';
import type { BlobStore, Encryption, Tiers } from './content/index.ts';
import type { AuditNotes, Clock, Config, Database, Log, Outbound, RequestOrigin, Route, Seal, Secrets } from './platform/index.ts';

export interface ManagementParts {
  readonly database: Database;
  /** Aborted when the process ends. */
  readonly stopping: AbortSignal;
  readonly blobs: BlobStore;
  /** What moves blobs between two tiers; undefined where there is one. */
  readonly tiers: Tiers | undefined;
  /** What encrypts blobs; undefined where they lie in the clear. */
  readonly encryption: Encryption | undefined;
  /** A small blob of a repository; undefined where it is missing or larger. */
  readBlob(digest: string, most: number, repositoryId: number): Promise<Uint8Array | undefined>;
  readonly access: Access;
  readonly sessions: Sessions;
  readonly passwords: PasswordChecker;
  readonly throttle: Throttle;
  readonly clock: Clock;
  readonly log: Log;
  readonly origin: RequestOrigin;
  readonly notes: AuditNotes;
  readonly secrets: Secrets;
  /** Verifies checkpoints of the audit trail. */
  readonly auditKey: KeyObject;
  readonly outbound: Outbound;
  /** Seals the secrets of audit sinks. */
  readonly sinkSeal: Seal;
  /** Seals the secrets of webhooks. */
  readonly webhookSeal: Seal;
  /** Address of this registry as clients know it. */
  readonly registry: string;
  readonly config: Config;
}

/** Changes the route tables before they are served: tests look at who may use them without their effects. */
export type AdaptRoutes = (routes: readonly Route[]) => readonly Route[];

/** All route tables of the management API. */
async function managementRoutes(parts: ManagementParts): Promise<readonly Route[]> {
  const [access, catalog, content, evidence, lifecycle, platform, release, supplyChain] = await Promise.all([
    import('./access/routes.ts'),
    import('./catalog/routes.ts'),
    import('./content/routes.ts'),
    import('./evidence/routes.ts'),
    import('./lifecycle/routes.ts'),
    import('./platform/routes.ts'),
    import('./release/routes.ts'),
    import('./supply-chain/routes.ts'),
  ]);
  return [
    ...access.projectRoutes(parts),
    ...access.memberRoutes(parts),
    ...access.assignmentRoutes(parts),
    ...access.roleRoutes(parts),
    ...access.explainRoutes(parts),
    ...access.localRoutes(parts),
    ...access.accessKeyRoutes(parts),
    ...access.robotRoutes(parts),
    ...access.providerRoutes(parts),
    ...access.policyRoutes(parts),
    ...access.robotKeyRoutes(parts),
    ...access.trustRuleRoutes(parts),
    ...catalog.repositoryRoutes({ database: parts.database, seen: access.repositoriesSeen(parts.access) }),
    ...catalog.artifactRoutes(parts),
    ...catalog.tagRoutes(parts),
    ...catalog.compareRoutes<Identity>({
      ...parts,
      seesTrash: async (caller, project) => await parts.access.holds(caller, 'trash:read', { project }),
    }),
    ...catalog.deletionRoutes<Identity>({ ...parts, seesStorage: async (caller) => await parts.access.holds(caller, 'storage:read', {}) }),
    ...content.encryptionRoutes(parts),
    ...platform.jobRoutes(parts),
    ...evidence.trailRoutes({ ...parts, publicKey: parts.auditKey }),
    ...evidence.forwardingRoutes(parts),
    ...release.webhookRoutes(parts),
    ...lifecycle.lifecycleRoutes(parts),
    ...supplyChain.supplyChainRoutes(parts),
  ];
}

/** Answers everything under `/api`. What it stands on is loaded when it is first asked: a registry that only moves images stays small. */
export function createManagement(
  parts: ManagementParts,
  adapt: AdaptRoutes = (routes) => routes,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  let loading: Promise<(request: IncomingMessage, response: ServerResponse) => void> | undefined;

  async function load(): Promise<(request: IncomingMessage, response: ServerResponse) => void> {
    const { createApi, harborSurface, managementSurface } = await import('./api/index.ts');
    const { repositoriesSeen } = await import('./access/routes.ts');
    const routes = adapt(await managementRoutes(parts));
    const harbor = harborSurface({ ...parts, seen: repositoriesSeen(parts.access) }, routes);
    const { handle } = await createApi(parts, [managementSurface(routes), harbor]);
    return handle;
  }

  return async (request, response) => {
    // What fails to load now, as when no file can be opened, is tried again by the next request.
    loading ??= load().catch((error: unknown) => {
      loading = undefined;
      throw error;
    });
    const handle = await loading;
    handle(request, response);
    await finished(response).catch(() => undefined); // who goes away is told nothing
  };
}
