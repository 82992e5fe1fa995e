// The room's other face: its route tables, loaded with the management API and not before.
import type { Route } from '../platform/index.ts';
import { adoptionRoutes } from './adoption/routes.ts';
import { collectionRoutes } from './collection/routes.ts';
import { doctorRoutes } from './doctor/routes.ts';
import { immutabilityRoutes } from './immutability/routes.ts';
import type { LifecycleParts } from './parts.ts';
import { projectKeyRoutes } from './project-keys/routes.ts';
import { quotaRoutes } from './quota/routes.ts';
import { retentionRoutes } from './retention/routes.ts';
import { scrubRoutes } from './scrub/routes.ts';
import { tagHistoryRoutes } from './tag-history/routes.ts';
import { tierRoutes } from './tiers/routes.ts';
import { trashRoutes } from './trash/routes.ts';

export function lifecycleRoutes(parts: LifecycleParts): Route[] {
  return [
    ...collectionRoutes(parts),
    ...immutabilityRoutes(parts),
    ...projectKeyRoutes(parts),
    ...quotaRoutes(parts),
    ...retentionRoutes(parts),
    ...tagHistoryRoutes(parts),
    ...trashRoutes(parts),
    ...scrubRoutes(parts),
    ...doctorRoutes(parts),
    ...tierRoutes(parts),
    ...adoptionRoutes(parts),
  ];
}
