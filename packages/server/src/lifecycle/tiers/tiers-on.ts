import { AppError } from '../../platform/index.ts';

/** Throws where there is nothing to move between. */
export function requireTiers<T>(tiers: T | undefined): T {
  if (tiers === undefined) throw new AppError('conflict', 'this registry has one tier only: see the option coldStorage');
  return tiers;
}
