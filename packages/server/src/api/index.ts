export { type ApiHandler, type ApiParts, createApi } from './api.ts';
