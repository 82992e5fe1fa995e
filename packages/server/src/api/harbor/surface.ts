import type { AppError, Route } from '../../platform/index.ts';
import type { ApiSurface } from '../api.ts';
import { adapter } from './adapt.ts';
import { artifactRoutes } from './artifacts.ts';
import { gcRoutes } from './gc.ts';
import { immutableRuleRoutes } from './immutable-rules.ts';
import { memberRoutes } from './members.ts';
import { type HarborParts, readParams } from './parts.ts';
import { projectRoutes } from './projects.ts';
import { quotaRoutes } from './quotas.ts';
import { repositoryRoutes } from './repositories.ts';
import { retentionRoutes } from './retentions.ts';
import { robotRoutes } from './robots.ts';
import { systemRoutes } from './system.ts';

/** Harbor's codes by status (`src/lib/errors/const.go`). */
const CODES: Readonly<Record<number, string>> = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  405: 'METHOD_NOT_ALLOWED',
  409: 'CONFLICT',
  412: 'PRECONDITION',
  413: 'REQUEST_ENTITY_TOO_LARGE',
  415: 'UNSUPPORTED_MEDIA_TYPE',
  429: 'TOO_MANY_REQUEST',
};

function failure({ status: own, code, message }: AppError) {
  // A manifest that an index needs is what Harbor's database refuses.
  const status = code === 'manifest_referenced' ? 412 : own;
  const name = code === 'manifest_referenced' ? 'VIOLATE_FOREIGN_KEY_CONSTRAINT' : (CODES[status] ?? 'UNKNOWN');
  return { status, type: 'application/json', body: { errors: [{ code: name, message }] } };
}

/**
 * The most used paths of Harbor's API v2.0, so that scripts and tools written for it go on working: same rights and audit
 * records as the management API, on whose routes it stands. `docs/reference/harbor-api.md` says what is covered.
 */
export function harborSurface(parts: HarborParts, management: readonly Route[]): ApiSurface {
  const adapt = adapter(management);
  return {
    prefix: '/api/v2.0',
    documented: false,
    routes: [
      ...systemRoutes(parts),
      ...projectRoutes(parts, adapt),
      ...quotaRoutes(parts, adapt),
      ...memberRoutes(parts, adapt),
      ...repositoryRoutes(parts, adapt),
      ...artifactRoutes(parts, adapt),
      ...robotRoutes(parts, adapt),
      ...immutableRuleRoutes(parts, adapt),
      ...retentionRoutes(parts, adapt),
      ...gcRoutes(parts, adapt),
    ],
    failure,
    readParams: (params, headers) => readParams(parts.database, params, headers),
  };
}
