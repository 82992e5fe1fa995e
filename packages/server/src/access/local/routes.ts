import { type Config, createSeal, type Route, type Secrets } from '../../platform/index.ts';
import { accountRoutes } from './account-routes.ts';
import { createChallenges } from './challenges.ts';
import { groupRoutes } from './group-routes.ts';
import { type LoginParts, loginRoutes } from './login-routes.ts';
import { passkeyRoutes } from './passkey-routes.ts';
import { createSecondFactors } from './second-factor.ts';
import { secondFactorRoutes } from './second-factor-routes.ts';
import { sessionRoutes } from './session-routes.ts';
import { userRoutes } from './user-routes.ts';

interface Parts extends Omit<LoginParts, 'secondFactors'> {
  readonly secrets: Secrets;
  readonly config: Config;
}

/** Users and groups, how users log in, and their sessions. */
export function localRoutes(given: Parts): Route[] {
  const { secrets } = given;
  const secondFactors = createSecondFactors({ seal: createSeal(secrets.derive('totp')), key: secrets.derive('recovery-codes') });
  const parts = { ...given, secondFactors, challenges: createChallenges(secrets.derive('passkeys')) };
  return [
    ...loginRoutes(parts),
    ...sessionRoutes(parts),
    ...accountRoutes(parts),
    ...secondFactorRoutes(parts),
    ...passkeyRoutes(parts),
    ...userRoutes(parts),
    ...groupRoutes(parts),
  ];
}
