use super::*;

#[test]
fn an_unknown_task_is_an_error_that_lists_the_known_ones() {
    let message = by_name("so101-juggle")
        .err()
        .map(|e| e.to_string())
        .unwrap();
    assert!(message.starts_with("there is no task \"so101-juggle\"; the tasks are so101-reach, "));
    for task in all() {
        assert!(message.contains(task.name()), "{message}");
    }
}

#[test]
fn the_tool_is_put_where_it_is_asked_for() {
    for (x, y) in [(0.16, -0.14), (0.22, 0.0), (0.26, 0.12)] {
        let joints = joints_over(Vector3::new(x, y, 0.03), FRAC_PI_2, 0.5).unwrap();
        let tool = so101::chain().base_from_tool(&joints[..5]);
        assert!((tool.translation.vector - Vector3::new(x, y, 0.03)).norm() < 1e-3);
        assert!((tool.rotation * Vector3::z()).z < -0.999);
        assert!((tool.rotation * Vector3::x()).y > 0.999);
    }
    assert!(joints_over(Vector3::new(0.8, 0.0, 0.03), 0.0, 0.0).is_err());
}
