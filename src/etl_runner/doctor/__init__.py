"""What a deployment consists of and who may do what in it, compared with what is there."""
