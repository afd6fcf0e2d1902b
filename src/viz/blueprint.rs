//! What the viewer shows first.

use rerun::blueprint::components::PanelState;
use rerun::blueprint::{
    Blueprint, BlueprintPanel, Horizontal, SelectionPanel, Spatial2DView, Spatial3DView, TimePanel,
    TimeSeriesView, Vertical,
};

/// The arm in 3-D at the left, cameras at the right, reward, joints and loop timing below.
pub fn blueprint(cameras: &[String]) -> Blueprint {
    let views = cameras
        .iter()
        .map(|name| {
            Spatial2DView::new(name.as_str())
                .with_origin(format!("camera/{name}"))
                .into()
        })
        .collect::<Vec<_>>();
    let arm = Spatial3DView::new("arm").with_origin("world").into();
    let top = if views.is_empty() {
        Horizontal::new([arm])
    } else {
        Horizontal::new([arm, Vertical::new(views).into()]).with_column_shares([1.6, 1.0])
    };
    let plots = Horizontal::new([
        TimeSeriesView::new("reward").with_origin("reward").into(),
        TimeSeriesView::new("joints (rad)")
            .with_origin("joints")
            .into(),
        TimeSeriesView::new("loop lateness (ms)")
            .with_origin("loop")
            .into(),
    ]);
    Blueprint::new(Vertical::new([top.into(), plots.into()]).with_row_shares([1.7, 1.0]))
        .with_blueprint_panel(BlueprintPanel::from_state(PanelState::Collapsed))
        .with_selection_panel(SelectionPanel::from_state(PanelState::Collapsed))
        .with_time_panel(TimePanel::new().with_state(PanelState::Collapsed))
        .with_auto_views(false)
}
