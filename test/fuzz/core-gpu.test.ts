import { shortDrills } from "./short-drills.ts";

await shortDrills("core-gpu");
