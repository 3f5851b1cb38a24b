output "topic_arn" {
  description = "For external_events.sns_topics of the deployment in Google Cloud."
  value       = aws_sns_topic.this.arn
}

output "dead_letters" {
  description = "The queue with what could not be delivered."
  value       = aws_sqs_queue.dead.id
}
