import { shortDrills } from "./short-drills.ts";

await shortDrills("methods");
