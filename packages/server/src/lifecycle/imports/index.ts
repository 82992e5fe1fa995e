export { type ImportedRepository, importImages } from './import.ts';
