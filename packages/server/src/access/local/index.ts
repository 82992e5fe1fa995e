import { passkeyMigrations } from './passkey-store.ts';
import { secondFactorMigrations } from './second-factor.ts';
import { throttleMigrations } from './throttle.ts';
import { accountMigrations } from './user-store.ts';

export { hasSecondFactor } from './second-factor.ts';
export { createThrottle, type Throttle } from './throttle.ts';

/** Tables of users and of how they log in. */
export const localMigrations = [...accountMigrations, ...throttleMigrations, ...secondFactorMigrations, ...passkeyMigrations];
