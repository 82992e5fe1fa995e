import { type Clock, createSeal, type Route, type Secrets } from '../../platform/index.ts';
import { linkRoutes } from './link-routes.ts';
import { createOidc } from './oidc.ts';
import { type OidcRouteParts, oidcRoutes } from './oidc-routes.ts';
import { type ProviderParts, providerStoreRoutes } from './provider-routes.ts';
import { PROVIDER_SECRETS } from './schema.ts';

type Parts = Omit<ProviderParts, 'providerSeal'> &
  Omit<OidcRouteParts, 'oidc' | 'providerSeal' | 'loginSeal'> & { readonly secrets: Secrets; readonly clock: Clock };

/** Identity providers, and logins by them. */
export function providerRoutes(parts: Parts): Route[] {
  const { secrets, outbound, clock } = parts;
  const providerSeal = createSeal(secrets.derive(PROVIDER_SECRETS));
  const loginSeal = createSeal(secrets.derive('oidc-logins'));
  const oidc = createOidc(outbound, () => clock.now());
  return [
    ...providerStoreRoutes({ ...parts, providerSeal }),
    ...linkRoutes(parts),
    ...oidcRoutes({ ...parts, oidc, providerSeal, loginSeal }),
  ];
}
