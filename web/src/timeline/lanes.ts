/** Which strips lie under the waveform: channels, labels, the other settings, what differs, what was corrected. */

import type { Clip } from '../clip/clip';
import { spoken } from '../clip/clip';
import type { Segment } from '../service/types';
import type { Palette } from '../settings/theme';
import { t } from '../text/i18n';
import { word } from '../text/names';
import type { Lane, Strip } from './paint';
import type { Picture } from './picture';

/** Of the corrected ones; on it edges are dragged and new ones drawn. */
export const MARKS = 'marks';

export function lanesOf(clip: Clip, palette: Palette): Lane[] {
  const [answer, other, marks] = [clip.a.answer.value, clip.b.value?.answer.value, clip.editing.marks.value];
  const models = clip.others.value.length > 0;
  const lanes: Lane[] = [];
  const groups = answer ? grouped(answer.segments) : [];
  // One group alone is shaded on the waveform itself.
  if (other && answer) {
    lanes.push({ key: 'a', name: t('laneA'), colour: palette['lane-a'], extents: spoken(answer.segments) });
    lanes.push({ key: 'b', name: t('laneB'), colour: palette['lane-b'], extents: spoken(other.segments) });
    lanes.push(...differences(clip, palette));
  } else if (groups.length > 1 || (marks && !models)) {
    lanes.push(...groups.map((group) => detectorLane(group, groups.length === 1, palette)));
  }
  if (models) lanes.push(...modelLanes(clip, palette));
  if (marks) lanes.push({ key: MARKS, name: t('laneMarks'), colour: palette['lane-marks'], extents: marks });
  return lanes;
}

interface Group {
  channel: number | null;
  label: string | null;
  segments: Segment[];
}

/** Segments that do not overlap: of one channel and one label. */
function grouped(segments: readonly Segment[]): Group[] {
  const groups = new Map<string, Group>();
  for (const segment of segments) {
    const [channel, label] = [segment.channel ?? null, segment.label ?? null];
    const key = `${channel}/${label}`;
    const group = groups.get(key) ?? { channel, label, segments: [] };
    group.segments.push(segment);
    groups.set(key, group);
  }
  const order = ['speech', 'singing', 'music', 'overlap'];
  return [...groups.values()].sort(
    (one, two) => (one.channel ?? -1) - (two.channel ?? -1) || order.indexOf(one.label ?? '') - order.indexOf(two.label ?? ''),
  );
}

function detectorLane({ channel, label, segments }: Group, alone: boolean, palette: Palette): Lane {
  const parts = [channel === null ? null : t('laneChannel', { n: channel + 1 }), label === null ? null : t(word(label))].filter(
    (part) => part !== null,
  );
  const colours: Record<string, string> = {
    singing: palette['lane-singing'],
    music: palette['lane-music'],
    overlap: palette['lane-overlap'],
  };
  return {
    key: `${channel}/${label}`,
    name: alone ? t('laneDetector') : parts.join(' · '),
    colour: colours[label ?? ''] ?? palette['lane-a'],
    extents: segments,
  };
}

function differences(clip: Clip, palette: Palette): Lane[] {
  const found = clip.comparison.value;
  if (!found) return [];
  return [
    { key: 'onlyA', name: t('laneOnlyA'), colour: palette['only-a'], extents: found.onlyA },
    { key: 'onlyB', name: t('laneOnlyB'), colour: palette['only-b'], extents: found.onlyB },
  ];
}

/** The model of the settings first, then the others in the service's order, as far as they have answered. */
function modelLanes(clip: Clip, palette: Palette): Lane[] {
  const answers = [clip.a, ...clip.others.value].flatMap(({ answer }) => (answer.value ? [answer.value] : []));
  return answers.map(({ model, segments }, place) => ({
    key: `model/${model.name}`,
    name: model.name,
    colour: palette[place === 0 ? 'lane-a' : 'lane-b'],
    extents: spoken(segments),
  }));
}

/**
 * The curves under the lanes, each of the answer whose thresholds lie on it: one, one for each side of a comparison,
 * one for each channel that was detected by itself.
 */
export function stripsOf(clip: Clip): Strip[] {
  const sides = clip.b.value ? [clip.a, clip.b.value] : [clip.take.value];
  return sides.flatMap((take) => {
    const { picture = null } = take.outcome.value ?? {};
    return (picture?.curves ?? []).map(({ channel, probabilities }) => {
      const side = clip.b.value ? t(take === clip.a ? 'laneA' : 'laneB') : '';
      const name = [side, channel === null ? '' : t('laneChannel', { n: channel + 1 })].filter(Boolean).join(' · ');
      const key = `${take === clip.a ? 'a' : 'b'}/${channel ?? ''}`;
      return { key, name, picture: picture as Picture, probabilities, thresholds: take.thresholds.value };
    });
  });
}
