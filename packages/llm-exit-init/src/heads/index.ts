export { type CalibrateHeadOptions, calibrate } from "./calibrate.ts";
export { type ClassAwareOptions, classAware } from "./class-aware.ts";
export { type CopyOptions, copy } from "./copy.ts";
export { type LinearMapOptions, linearMap } from "./linear-map.ts";
export { type MapAndClassesOptions, mapAndClasses } from "./map-and-classes.ts";
export { type MixOptions, mix } from "./mix.ts";
export { type RandomUniformOptions, randomUniform } from "./random-uniform.ts";
export { type SharedCovarianceOptions, sharedCovariance } from "./shared-covariance.ts";
export type { TokenHead } from "./token-head.ts";
