// The room's other face: its route tables, loaded with the management API and not before.
import type { Database, Route } from '../platform/index.ts';
import { inventoryRoutes } from './inventory/routes.ts';

export function supplyChainRoutes(parts: { readonly database: Database }): Route[] {
  return [...inventoryRoutes(parts)];
}
