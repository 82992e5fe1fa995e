export { baseUrlOf, formatImageReference, type ImageReference, parseImageReference } from './image-reference.ts';
export { type Credentials, LoginError } from './login.ts';
export { type FetchedManifest, type Referrer, RegistryClient, type RegistryClientOptions, RegistryError } from './registry-client.ts';
