export type { RegistryOptions, RegistryParts } from './parts.ts';
export { createRegistry, type Permission, type RegistryHandler, type Route } from './registry.ts';
