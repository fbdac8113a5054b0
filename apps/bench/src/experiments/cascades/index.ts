import assert from "node:assert/strict";
import { type CascadeChoice, cascade, type ExitModel } from "@exitkit/early-exit";
import { dataOf } from "../../data/directory.ts";
import { PIXELS } from "../../data/normalisation.ts";
import { slicePictures } from "../../data/pictures.ts";
import { argMaxRows, countRight } from "../../measuring/answers.ts";
import { onDevice } from "../../measuring/device.ts";
import { folds } from "../../measuring/halves.ts";
import type { TimingPlan } from "../../measuring/timing.ts";
import { type Context, experiment } from "../experiment.ts";
import { type Chosen, choose, FAMILIES, type Measured } from "./choose.ts";
import { inCascade, seenOnOtherHalf, type WithClassMeans, withClassMeans } from "./class-means.ts";
import { logitsOf, type Network, REFERENCE, readNetworks } from "./networks.ts";
import { measured, readme, report, summary } from "./report.ts";
import { type CascadesRow, schema } from "./schema.ts";
import { type Timed, type Wall, wallOf } from "./wall.ts";

/** Exits by class means in a network, alone or last in a cascade. */
interface ClassMeansWay {
  readonly method: "class means" | "cascade with class means";
  readonly members: readonly string[];
  readonly way: WithClassMeans;
}

interface Settings {
  readonly calibrationPictures: number;
  readonly wantedLosses: readonly number[];
  /** Of the wanted losses, those whose cascades are timed. */
  readonly timedLosses: readonly number[];
  /** Pictures that plain networks are timed on, in batches; and pictures timed one by one. */
  readonly timed: number;
  readonly singles: number;
  readonly plan: TimingPlan;
  /** Of the ways that stop early, on all test pictures. */
  readonly cascadePlan: TimingPlan;
  /** Training pictures that class means come from. */
  readonly fitted: number;
}

/** Smaller networks, 8 bits and cascades beside one network. */
export const cascades = experiment({
  name: "cascades",
  title: "What to use when: smaller networks, 8 bits and cascades, CIFAR-10",
  about:
    "ResNet-8 to ResNet-56, pretrained, in float and in 8 bits: each alone and joined to cascades of whole networks. " +
    "Accuracy against MACs and against time; nothing is trained.",
  heading: "What to use when",
  reads: ["cifar10"],
  presets: {
    quick: {
      calibrationPictures: 500,
      wantedLosses: [0, 0.005, 0.02],
      timedLosses: [0, 0.005],
      timed: 256,
      singles: 100,
      plan: { budget: 5000, leastRounds: 3, mostRounds: 5 },
      cascadePlan: { budget: 5000, leastRounds: 1, mostRounds: 3 },
      fitted: 1000,
    },
    full: {
      calibrationPictures: 1000,
      wantedLosses: [-0.003, 0, 0.005],
      timedLosses: [-0.003, 0, 0.005],
      timed: 512,
      singles: 500,
      plan: { budget: 50_000, leastRounds: 5, mostRounds: 15 },
      cascadePlan: { budget: 50_000, leastRounds: 3, mostRounds: 15 },
      fitted: 10_000,
    },
  } satisfies Record<string, Settings>,
  schema,
  run,
  summary,
  report,
  measured,
  readme,
});

async function run(context: Context, settings: Settings) {
  const { run: folder, progress } = context;
  const data = await context.data.cifar10();
  return onDevice(context, async (device) => {
    const { networks, quantised, weights } = await readNetworks(context, device, data, settings.calibrationPictures);
    const named = (name: string): Network => networks.find((network) => network.name === name)!;
    const { labels } = data.test;
    const logits = new Map<string, Float32Array>();
    for (const network of networks) {
      const key = `logits-${network.name.replace(" ", "-")}`;
      logits.set(network.name, await folder.step(key, () => logitsOf(context, device, network, data)));
    }
    const accuracies = new Map(
      [...logits].map(([name, own]) => [name, countRight(argMaxRows(own, 10), labels) / labels.length]),
    );
    const halves = folds(data);
    // How long a plain network takes does not depend on the pictures: some will do.
    const some = slicePictures(halves[1], 0, Math.min(settings.timed, halves[1].n));
    const plainTimed: Timed[] = [named(REFERENCE), ...networks.filter(({ name }) => name !== REFERENCE)].map(
      (network) => ({
        name: network.name,
        normalisation: network.normalisation,
        networks: [{ model: network.model, input: "input" }],
      }),
    );
    const stage = progress.stage("timing", 2, "lists");
    const plainTimes = await folder.step("plain-times", () =>
      wallOf(device, plainTimed, [some], settings.singles, settings.plan),
    );
    stage.advance(1);

    const all: Measured[] = networks.map((network) => {
      const wall = plainTimes.find(({ name }) => name === network.name)!;
      return {
        network,
        logits: logits.get(network.name)!,
        times: { 64: wall.ms64, 1: wall.ms1 },
        callMs: wall.callMs!,
      };
    });
    const choosing = progress.stage("choosing cascades", FAMILIES.length, "families");
    const chosen: Chosen[] = [];
    for (const family of FAMILIES) {
      for (const wanted of settings.wantedLosses) {
        const key = `choice-${family.bits}-${family.answer}-${family.objective}-${wanted}`;
        const found = await folder.step(key, async () => choose(all, labels, family, wanted, context.seed));
        if (found === null) progress.note(`no cascade gains ${-wanted} of accuracy on both halves (${key})`);
        else chosen.push(found);
      }
      choosing.advance(1);
    }
    choosing.done();

    const macs = named(REFERENCE).macs;
    const rightOf = (answers: Int32Array) => answers.map((said, i) => (said === labels[i] ? 1 : 0));
    const right = Uint8Array.from(rightOf(argMaxRows(logits.get(REFERENCE)!, 10)));
    /** Pictures that only the reference answers rightly, and that only these answers are right of. */
    const differing = (answers: Int32Array) => {
      const own = rightOf(answers);
      const count = (is: (i: number) => boolean) => own.filter((_, i) => is(i)).length;
      return {
        lostPictures: count((i) => right[i] === 1 && own[i] === 0),
        gainedPictures: count((i) => right[i] === 0 && own[i] === 1),
      };
    };
    const lossless = chosen.find(({ family, wantedLoss }) => family.bits === 8 && wantedLoss === 0)!.choices[0];
    const withMeans: ClassMeansWay[] = [];
    for (const name of [REFERENCE, `${REFERENCE} 8-bit`]) {
      const way = await withClassMeans(context, device, named(name), data, settings.fitted);
      withMeans.push({ method: "class means", members: [name], way });
    }
    const before = lossless.members.slice(0, -1).map(named);
    const last = named(lossless.members.at(-1)!);
    const own =
      withMeans.find(({ members: [name] }) => name === last.name)?.way ??
      (await withClassMeans(context, device, last, data, settings.fitted));
    const way = await inCascade(context, device, before, last, own, lossless.temperatures, data);
    withMeans.push({ method: "cascade with class means", members: lossless.members, way });
    const meansRows = withMeans.flatMap((one) =>
      settings.wantedLosses
        .filter((wantedLoss) => wantedLoss >= 0)
        .map((wantedLoss) => ({ ...one, wantedLoss, seen: seenOnOtherHalf(one.way, right, wantedLoss, macs) })),
    );

    // Each half is answered by what the other one chose: time, MACs and right answers are of the same pictures.
    const [reference] = plainTimed as [Timed];
    const timed: Timed[] = [{ ...reference, networks: [reference.networks[0]!, reference.networks[0]!] }];
    for (const one of chosen.filter(({ wantedLoss }) => settings.timedLosses.includes(wantedLoss))) {
      const networks = one.choices.map((choice) => ({
        exits: cascadeOf(one, choice, named),
        thresholds: choice.thresholds,
      }));
      timed.push({ name: nameOf(one), normalisation: PIXELS, networks: networks.reverse() });
    }
    for (const { way, seen, ...one } of meansRows) {
      const { exits, normalisation } = way;
      const networks = seen.thresholds.map((thresholds) => ({ exits, thresholds }));
      timed.push({ name: meansName(one), normalisation, networks: networks.reverse() });
    }
    const walls = await folder.step("cascade-times", () =>
      wallOf(device, timed, halves, settings.singles, settings.cascadePlan),
    );
    stage.done();

    const rows: CascadesRow[] = networks.map((network) => ({
      backbone: network.backbone,
      method: "plain",
      members: [network.name],
      bits: network.bits,
      answer: null,
      objective: null,
      wantedLoss: null,
      accuracy: accuracies.get(network.name)!,
      ...differing(argMaxRows(logits.get(network.name)!, 10)),
      macsFraction: network.macs / macs,
      ...timesOf(plainTimes, network.name),
      bytes: network.bytes,
    }));
    for (const one of chosen) {
      const [first, other] = one.choices;
      const members = [...new Set([...first.members, ...other.members])];
      rows.push({
        backbone: REFERENCE,
        method: "cascade",
        members: first.members,
        bits: one.family.bits,
        answer: one.family.answer,
        objective: one.family.objective,
        wantedLoss: one.wantedLoss,
        accuracy: one.accuracy,
        ...differing(one.answers),
        macsFraction: one.macsFraction,
        ...timesOf(walls, nameOf(one)),
        bytes: members.reduce((sum, name) => sum + named(name).bytes, 0),
      });
    }
    for (const { way: _, seen, ...one } of meansRows) {
      const [{ bits }] = one.members.map(named) as [Network];
      rows.push({
        backbone: REFERENCE,
        method: one.method,
        members: one.members,
        bits,
        answer: one.method === "class means" ? "own" : "averaged",
        objective: "macs",
        wantedLoss: one.wantedLoss,
        accuracy: seen.accuracy,
        ...differing(seen.answers),
        macsFraction: seen.macsFraction,
        ...timesOf(walls, meansName(one)),
        bytes: one.members.reduce((sum, name) => sum + named(name).bytes, 0),
      });
    }
    for (const row of rows) await folder.metric({ ...row });
    const plain = plainTimes.find(({ name }) => name === REFERENCE)!;
    assert.equal(plain.wallFraction, 1);
    return {
      ranOn: device.kind,
      data: dataOf(data),
      weights,
      calibrationPictures: Math.min(settings.calibrationPictures, data.train.n),
      timedPictures: 2 * halves[0].n,
      singles: 2 * Math.ceil(settings.singles / 2),
      plain: { macs, accuracy: accuracies.get(REFERENCE)!, ms64: plain.ms64, ms1: plain.ms1 },
      quantised,
      rows,
    };
  });
}

/** The cascade that was chosen on a half. */
function cascadeOf({ family }: Chosen, choice: CascadeChoice, named: (name: string) => Network): ExitModel {
  const members = choice.members.map((name, j) => ({ ...named(name).member, temperature: choice.temperatures[j]! }));
  return cascade(members, { answer: family.answer, sampleShape: [3, 32, 32] });
}

function nameOf({ family, wantedLoss }: Chosen): string {
  return `cascade ${family.bits} ${family.answer} ${family.objective} ${wantedLoss}`;
}

function meansName(one: { readonly method: string; readonly members: readonly string[]; readonly wantedLoss: number }) {
  return `${one.method} ${one.members.join(" ")} ${one.wantedLoss}`;
}

function timesOf(walls: readonly Wall[], name: string) {
  const wall = walls.find((one) => one.name === name);
  if (wall === undefined) return { wallFraction: null, wallFraction1: null, p50Ms: null, p95Ms: null, p99Ms: null };
  const { wallFraction, wallFraction1, p50Ms, p95Ms, p99Ms } = wall;
  return { wallFraction, wallFraction1, p50Ms, p95Ms, p99Ms };
}
